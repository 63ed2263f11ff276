"""Performance metrics from counts that add up, each with bounds."""
