#!/bin/sh
# Install uv as a lock has it, and nothing that its hashes do not name: install-uv.sh PIP LOCK.
# Everything else is installed by uv, which checks the hashes of a lock itself.
set -eu

wanted=$(mktemp)
trap 'rm "$wanted"' EXIT
sed -n '/^uv==/,/[^\\]$/p' "$2" >"$wanted"
"$1" install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    --requirement "$wanted"
