#!/bin/bash
# Runs once, when the database is made: the roles of the workers and of Grafana, which see only what migrations grant them.
set -euo pipefail
psql --set=ON_ERROR_STOP=1 --set=password="$POSTGRES_PASSWORD" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE factory_worker LOGIN PASSWORD :'password';
CREATE ROLE factory_reader LOGIN PASSWORD :'password';
ALTER ROLE factory_reader SET statement_timeout = '30s';
REVOKE ALL ON DATABASE factory FROM PUBLIC;
GRANT CONNECT ON DATABASE factory TO factory_worker, factory_reader;
SQL
