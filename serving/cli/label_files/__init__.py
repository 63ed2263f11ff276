"""Files with labels: CSV, JSON lines and Parquet, read row by row, with the place of each fault."""
