"""What models cost: processor time, their share of devices' energy, and the price of both."""
