"""Performance without labels, or with few: estimates, how far they may be off, and their trust."""
