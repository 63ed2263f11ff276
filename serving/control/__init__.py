"""The control plane of an instance: who is there, what is served, and what all of them counted."""
