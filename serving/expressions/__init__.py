"""Conditions on the columns of a row, as model.yaml states them: read once, judged by numpy."""
