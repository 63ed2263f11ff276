"""From a loaded version to one that may serve: tried, compared, warmed up."""
