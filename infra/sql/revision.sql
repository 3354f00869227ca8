-- name: database_version
-- The version that the last migration left behind.
SELECT version_num FROM alembic_version
