"""What guards, monitors and explanations must know of a version before it serves."""
