"""Format `sklearn`: estimators stored by skops, and the tables and methods they take."""
