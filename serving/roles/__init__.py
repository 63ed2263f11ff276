"""What roles share: the way to the control plane, and what one says that cannot load its model."""
