"""The log of every process: its events, its lines, what is left out of them, and how often."""
