"""The processes that consume queues: the coordinator and the workers with their stages."""
