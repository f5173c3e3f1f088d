"""The worker: a child process of a WatchDog that runs jobs, one at a time or, on an event loop, many at once."""
