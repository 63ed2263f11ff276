"""Models on other servers of the Open Inference Protocol: what is said to them, and how."""
