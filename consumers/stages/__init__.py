"""The project's own stages, each a module with a spec and a function."""
