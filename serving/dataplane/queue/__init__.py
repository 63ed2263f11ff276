"""What waits for a slot: bounds, order, room, and clients that leave."""
