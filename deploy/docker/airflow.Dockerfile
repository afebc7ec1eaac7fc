# Airflow with the packages of requirements.txt and a driver for PostgreSQL; the code is mounted.
# Debian 12 has Python 3.11, the version of Composer 3 that the lock is for (docs/adr/0002).

ARG BASE=debian:bookworm-slim

FROM ${BASE} AS packages
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils ca-certificates python3-venv \
    && rm -rf /var/lib/apt/lists/*
# Use the base image's certificates, not those bundled with pip and uv.
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt
COPY requirements/dev.txt deploy/docker/install-uv.sh /locks/
RUN python3 -m venv /uv \
    && PIP_NO_CACHE_DIR=1 sh /locks/install-uv.sh /uv/bin/pip /locks/dev.txt
ENV PATH=/uv/bin:$PATH UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_LINK_MODE=copy
COPY requirements.txt requirements/database.txt deploy/docker/slim.sh /locks/
RUN uv venv --quiet --python /usr/bin/python3.11 /opt/venv \
    && uv pip sync --quiet --python /opt/venv/bin/python \
        /locks/requirements.txt /locks/database.txt \
    && sh /locks/slim.sh /opt/venv

FROM ${BASE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && useradd --uid 10001 --create-home taxi \
    && install --directory --owner taxi --group taxi \
        /opt/airflow /opt/airflow/config /opt/airflow/logs /opt/airflow/secrets
COPY --from=packages /opt/venv /opt/venv
COPY local_gcp/airflow_local_settings.py /opt/airflow/config/
COPY deploy/docker/healthy.py deploy/docker/make_secrets.py /opt/taxi/deploy/docker/
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt/taxi PYTHONUNBUFFERED=1 AIRFLOW_HOME=/opt/airflow
USER taxi
WORKDIR /opt/airflow
ENTRYPOINT ["airflow"]
