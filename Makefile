# Every command of this project; CI uses the same targets.
.DEFAULT_GOAL := help
.PHONY: help setup demo replay up down status test test-fast test-compose chaos conformance mutation lint format lock lock-check sbom plan deploy bench clean

# Airflow's lock is for one minor version of Python, that of Composer 3.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Without bytecode every process would parse 1.4 GB of Python when it starts.
unexport PYTHONDONTWRITEBYTECODE

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: .venv/complete pipeline-env ## make both environments where they are missing

# Two makes would install into the same folder: the second one waits, checks again and finds it complete.
ifndef HOLDS_LOCK
.venv/complete: requirements/dev.txt
	@local_gcp/one_at_a_time.sh .venv/lock $(MAKE) --no-print-directory HOLDS_LOCK=yes $@
else
.venv/complete: requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "needs Python 3.11 (that of Composer 3); install it, or: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Airflow environment: about 280 locked packages, 1.5 GB, about 1 minute" >&2
	@rm -f $@
	@$(PYTHON) -m venv .venv || \
		{ echo "cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@deploy/docker/install-uv.sh $(BIN)/pip requirements/dev.txt || \
		{ echo "could not install uv: see above, then run make again" >&2; exit 1; }
	@UV_COMPILE_BYTECODE=1 $(BIN)/uv pip sync --quiet --python $(BIN)/python requirements/dev.txt || \
		{ echo "could not install requirements/dev.txt: see above, then run make again" >&2; exit 1; }
	@touch $@
endif

# All clones of a user share the cache.
.PHONY: pipeline-env
pipeline-env: .venv/complete
	@local_gcp/one_at_a_time.sh \
		"$${LOCAL_GCP_CACHE_DIR:-$${XDG_CACHE_HOME:-$$HOME/.cache}/taxi-vertex}/pipeline.lock" local_gcp/pipeline_env.sh

demo: setup ## train on real trips and serve a model, with Airflow and the local Google Cloud
	@$(BIN)/python -m demo

replay: setup ## train a year of real months and compare policies of the gate (ARGS="--policy mine.toml")
	@$(BIN)/python -m demo.replay $(ARGS)

up: setup ## start the local Google Cloud and Airflow
	@$(BIN)/python -m local_gcp up --airflow

down: .venv/complete ## stop both; their state is kept
	@$(BIN)/python -m local_gcp down

status: .venv/complete ## list the servers with their addresses
	@$(BIN)/python -m local_gcp status

# Two at once are those that leave cores free; the others start Airflow or TFX, which use both of a small machine.
SLOW := e2e or pipeline or composer
test: setup ## all tests (ARGS="tests/airflow -k gate" for some)
ifeq ($(ARGS),)
	@$(BIN)/python -m pytest -n 2 -m "not ($(SLOW) or large)"
	@$(BIN)/python -m pytest -m "($(SLOW)) and not large"
else
	@$(BIN)/python -m pytest $(ARGS)
endif

test-fast: setup ## only the tests that start neither TFX nor Airflow
	@$(BIN)/python -m pytest -m "not ($(SLOW) or large)" $(ARGS)

chaos: setup ## kill parts of Airflow and the local Vertex AI 50 times while the DAG runs (ARGS="--kills 9 --seed 2")
	@$(BIN)/python -m tests.chaos $(ARGS)

CONFORMANCE := $(foreach name,PROJECT BUCKET IMAGE SERVICE_ACCOUNT REGION TRANSPORT REPORT,\
	$(if $($(name)),--$(shell echo $(name) | tr A-Z_ a-z-)="$($(name))")) \
	$(if $(DRY_RUN),--dry-run) $(if $(YES),--yes) $(if $(SWEEP),--sweep)
conformance: $(if $(PROJECT),.venv/complete,setup) ## the contract tests, here or on Google: PROJECT= BUCKET= IMAGE= (DRY_RUN=1 only prints)
	@$(BIN)/python -m tests.conformance $(strip $(CONFORMANCE))

test-compose: .venv/complete ## docker compose up to a promoted model (needs root; installs Docker if it is missing)
	@$(BIN)/python -m tests.compose

MUTMUT := $(CURDIR)/$(BIN)/uv run --quiet --no-project --python $(CURDIR)/$(BIN)/python \
	--with mutmut==3.8.1 mutmut
MUTATED_REPLAY := comparison contest simulation stored
mutation: .venv/complete ## run the mutants of the gate and the replay against their tests (ARGS="taxi_ml.gate.*")
	@folder=$$(mktemp -d); trap 'rm -r "$$folder"' EXIT; mkdir -p $$folder/tests/taxi_ml; \
	cp -r taxi_ml $$folder; cp tests/taxi_ml/reports.py tests/taxi_ml/replays.py $$folder/tests/taxi_ml; \
	cp tests/taxi_ml/test_gate_*.py $(MUTATED_REPLAY:%=tests/taxi_ml/test_replay_%.py) $$folder/tests/taxi_ml; \
	cp tests/taxi_ml/mutation.toml $$folder/pyproject.toml; \
	cd $$folder && $(MUTMUT) run $(ARGS) && { $(MUTMUT) results | grep -v 'not checked' || true; }

lint: .venv/complete lock-check ## ruff, mypy, import-linter, and the locks against their sources
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@PYTHONPATH=.:plugins $(BIN)/lint-imports

format: .venv/complete ## format the code with ruff
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links
LOCKS ?= .
lock: .venv/complete ## compile the locks from requirements/*.in (LOCK=--upgrade for newer releases)
	@$(COMPILE) $(LOCK) --python-version 3.11 requirements/dev.in -o $(LOCKS)/requirements/dev.txt
	@$(COMPILE) $(LOCK) --python-version 3.11 -c $(LOCKS)/requirements/dev.txt requirements/airflow.in \
		-o $(LOCKS)/requirements.txt
	@$(COMPILE) $(LOCK) --python-version 3.11 -c $(LOCKS)/requirements/dev.txt requirements/database.in \
		-o $(LOCKS)/requirements/database.txt
	@$(COMPILE) $(LOCK) --python-version 3.13 --python-platform x86_64-manylinux_2_40 \
		-c $(LOCKS)/requirements/dev.txt requirements/cloud.in -o $(LOCKS)/requirements/cloud.txt
	@$(COMPILE) $(LOCK) --python-version 3.13 --python-platform x86_64-manylinux_2_40 requirements/pipeline.in \
		-o $(LOCKS)/requirements/pipeline.txt
	@$(COMPILE) $(LOCK) --python-version 3.11 requirements/composer.in -o $(LOCKS)/requirements/composer.txt
	@$(COMPILE) $(LOCK) --python-version 3.11 requirements/terraform.in -o $(LOCKS)/requirements/terraform.txt
	@$(COMPILE) $(LOCK) --python-version 3.11 requirements/sbom.in -o $(LOCKS)/requirements/sbom.txt

# A lock is up to date if compiling it again, with its own versions preferred, changes nothing.
lock-check: .venv/complete
	@new=$$(mktemp -d); trap 'rm -r "$$new"' EXIT; mkdir $$new/requirements; cp requirements.txt $$new; \
	cp requirements/*.txt $$new/requirements; \
	$(MAKE) --no-print-directory lock LOCKS=$$new || exit 1; \
	for lock in requirements.txt requirements/*.txt; do cmp -s $$lock $$new/$$lock || \
		{ echo "$$lock is out of date: run make lock" >&2; exit 1; }; done

sbom: .venv/complete ## bills of materials (CycloneDX) of all locks, in sbom/
	@env=$$(mktemp -d); trap 'rm -r "$$env"' EXIT; rm -rf sbom; mkdir sbom; \
	$(BIN)/uv venv --quiet --python $(BIN)/python --clear $$env && \
	$(BIN)/uv pip sync --quiet --python $$env/bin/python --require-hashes requirements/sbom.txt || exit 1; \
	for lock in requirements.txt requirements/*.txt; do $$env/bin/cyclonedx-py requirements --output-reproducible \
		--output-file sbom/$$(basename $$lock .txt).cdx.json $$lock || exit 1; done

plan: .venv/complete ## show what Terraform would create, without a cloud account: ENV=dev|staging|prod
	@$(BIN)/python -m tests.deploy.google_provider $(or $(ENV),$(error choose an environment: make plan ENV=dev|staging|prod))

deploy: $(if $(TESTED),.venv/complete,setup) ## deploy this commit to Composer: ENV=dev|staging|prod (DRY_RUN=1 only prints, TESTED=1 skips the tests)
	@$(BIN)/python -m deploy.composer $(or $(ENV),$(error choose an environment: make deploy ENV=dev|staging|prod)) \
		$(if $(DRY_RUN),--dry-run) $(if $(TESTED),--tested)

bench: setup ## run the benchmarks, which print ratios to a named baseline
	@for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean: ## stop everything, delete environments and state (the cached pipeline environment stays)
	@[ ! -x $(BIN)/python ] || $(BIN)/python -m local_gcp down || true
	@rm -rf .venv .pipeline .local sbom .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
