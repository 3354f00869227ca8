"""The one kind of process that advances executions in Postgres."""
