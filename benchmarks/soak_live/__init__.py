"""Runs in which Tiled, worker, service, RunEngine or all of them are killed: all must be there, once."""
