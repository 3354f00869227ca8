#!/bin/bash
# Runs once, when the database is made: the role of the workers, which sees only what migrations grant it.
set -euo pipefail
psql --set=ON_ERROR_STOP=1 --set=password="$POSTGRES_PASSWORD" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE factory_worker LOGIN PASSWORD :'password';
REVOKE ALL ON DATABASE factory FROM PUBLIC;
GRANT CONNECT ON DATABASE factory TO factory_worker;
SQL
