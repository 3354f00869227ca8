"""Other systems doing the same pipeline; they run in an environment of their own and import nothing of the factory."""
