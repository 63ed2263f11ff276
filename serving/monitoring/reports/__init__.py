"""Reports, each made in a process of its own."""
