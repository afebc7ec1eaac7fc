#!/bin/sh
# Serve PostgreSQL for Airflow; create its database on an empty volume, or again if that was interrupted.
set -eu

folder=/var/lib/airflow-database
password=${DATABASE_PASSWORD_FILE:?names the file that holds the password of the user airflow}

if [ ! -d "$folder/data" ]; then
    rm -rf "$folder/new"
    initdb --pgdata="$folder/new" --username=airflow --pwfile="$password" --auth=scram-sha-256 \
        --encoding=UTF8 --locale=C.UTF-8
    echo 'host all all all scram-sha-256' >>"$folder/new/pg_hba.conf"
    echo 'CREATE DATABASE airflow;' | postgres --single -D "$folder/new" postgres
    mv "$folder/new" "$folder/data"
fi
exec postgres -D "$folder/data" -c listen_addresses='*' -c unix_socket_directories=/tmp
