"""When a difference is worth telling: one law for all streams of statistics, in calendar time."""
