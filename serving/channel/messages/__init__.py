"""What roles say to each other over the channel, one file per pair of roles."""
