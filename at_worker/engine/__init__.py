"""When things happen: the loops of a worker and the threads that run its tasks."""
