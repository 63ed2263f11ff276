"""What windows are compared with: profiles of reference data, as bins and counts."""
