"""The worker: takes tasks, runs stages, stores what they make and reports it."""
