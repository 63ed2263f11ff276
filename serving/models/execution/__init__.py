"""What holds while any model computes: its threads, and whose fault an error is."""
