"""The SQL database of what changes: incidents, what is waiting for receivers, what was unknown."""
