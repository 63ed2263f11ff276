"""What keeps a process lean while it runs: work done now and then, and the garbage collector."""
