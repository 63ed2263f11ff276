"""What is known of each explanation method without making one, in one list."""
