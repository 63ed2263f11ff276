"""What roles share, and the monitor."""
