"""The reconstruction core: from frames and positions to an object and a probe."""
