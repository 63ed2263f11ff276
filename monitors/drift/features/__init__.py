"""What of a row is watched: bounded statistics of its columns, and of pairs of them."""
