"""Plans as bluesky-queueserver queues and runs them: arguments are JSON, and each has its form."""
