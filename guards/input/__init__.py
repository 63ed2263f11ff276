"""Guards that judge the values of a row; they need no model."""
