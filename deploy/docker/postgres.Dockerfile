# Airflow's database, from the same base and with the same user as the other images.

ARG BASE=debian:trixie-slim

FROM ${BASE} AS packages
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-common \
    && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf \
    && apt-get install --yes --no-install-recommends postgresql-17
COPY deploy/docker/postgres-files.sh /
RUN sh /postgres-files.sh /files

FROM ${BASE}
RUN useradd --uid 10001 --create-home taxi \
    && install --directory --owner taxi --group taxi /var/lib/airflow-database
COPY --from=packages /files /
COPY deploy/docker/postgres.sh /usr/local/bin/
ENV PATH=/usr/lib/postgresql/17/bin:$PATH
USER taxi
WORKDIR /var/lib/airflow-database
# PostgreSQL's fast shutdown: it closes open connections, and needs no recovery at the next start.
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --timeout=5s --retries=20 \
    CMD ["pg_isready", "--quiet", "--host=127.0.0.1", "--username=airflow"]
ENTRYPOINT ["sh", "/usr/local/bin/postgres.sh"]
