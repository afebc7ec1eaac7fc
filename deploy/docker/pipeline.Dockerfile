# Two images that share their layers:
#   --target pipeline     runs on Vertex AI: executors, compiler, evaluation, model server
#   --target local-cloud  adds BigQuery, Cloud Storage and Vertex AI as servers, for a developer's machine

# A deployment passes the content of deploy/docker/base.txt and beam.txt, which may have digests.
ARG BASE=debian:trixie-slim
# The image with Beam's worker for Dataflow, for this image's Python and the locked Beam. A build for the local
# cloud passes the base image instead, to leave the worker out.
ARG BEAM_SDK=apache/beam_python3.13_sdk:2.77.0

FROM ${BEAM_SDK} AS beam-sdk
RUN mkdir -p /opt/apache/beam

FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils ca-certificates g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
# Use the base image's certificates, not those bundled with pip and uv.
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt
COPY requirements/dev.txt deploy/docker/install-uv.sh /locks/
RUN python3 -m venv /uv \
    && PIP_NO_CACHE_DIR=1 sh /locks/install-uv.sh /uv/bin/pip /locks/dev.txt
ENV PATH=/uv/bin:$PATH UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_LINK_MODE=copy

FROM build AS pipeline-packages
COPY requirements/pipeline.txt deploy/docker/slim.sh /locks/
RUN uv venv --quiet --python /usr/bin/python3 /opt/pipeline \
    && uv pip sync --quiet --python /opt/pipeline/bin/python /locks/pipeline.txt \
    && sh /locks/slim.sh /opt/pipeline

FROM build AS cloud-packages
COPY requirements/cloud.txt deploy/docker/slim.sh /locks/
RUN uv venv --quiet --python /usr/bin/python3 /opt/cloud \
    && uv pip sync --quiet --python /opt/cloud/bin/python /locks/cloud.txt \
    && sh /locks/slim.sh /opt/cloud

FROM ${BASE} AS pipeline
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && useradd --uid 10001 --create-home taxi \
    && install --directory --owner taxi --group taxi /opt/worker-packages
COPY --from=pipeline-packages /opt/pipeline /opt/pipeline
COPY --from=beam-sdk /opt/apache/beam /opt/apache/beam
# taxi_ml.image reads the lock beside the code, to label and compare images.
COPY requirements/pipeline.txt /opt/taxi/requirements/
COPY taxi_ml /opt/taxi/taxi_ml
ENV PATH=/opt/pipeline/bin:$PATH PYTHONPATH=/opt/taxi PYTHONUNBUFFERED=1
# Otherwise a worker would create an environment of its own, without these packages.
ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
USER taxi
WORKDIR /home/taxi
# Dataflow passes options only, without a command; everything else names one.
ENTRYPOINT ["python", "-m", "taxi_ml.pipeline.beam_worker"]
CMD ["python", "-m", "taxi_ml.serving"]

FROM pipeline AS local-cloud
USER root
COPY --from=cloud-packages /opt/cloud /opt/cloud
COPY local_gcp /opt/taxi/local_gcp
COPY local_vertex /opt/taxi/local_vertex
# The loader of BigQuery's data, and the file that names it.
COPY local_gcp.toml /opt/taxi/
COPY demo /opt/taxi/demo
COPY deploy/docker/healthy.py /opt/taxi/deploy/docker/
# local_gcp expects the pipeline environment beside its own folder.
RUN ln -s /opt/pipeline /opt/taxi/.pipeline \
    && install --directory --owner taxi --group taxi /var/lib/local-gcp
ENV PATH=/opt/cloud/bin:$PATH LOCAL_GCP_STATE_DIR=/var/lib/local-gcp
USER taxi
ENTRYPOINT ["python", "-m", "local_gcp.container"]
