"""What roles share: the way to the hub, and what a role says that cannot load its model."""
