"""From documents to a growing map: the spool on disk, and the process that reads it."""
