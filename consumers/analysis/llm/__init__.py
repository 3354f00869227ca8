"""The analysis engine that asks language models where that pays, and the local engine everywhere else."""
