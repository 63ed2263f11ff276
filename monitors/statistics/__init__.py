"""Statistical tests, intervals and effect sizes on counts; pure functions that know no window."""
