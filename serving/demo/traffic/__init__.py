"""A day of traffic for the demo, in two minutes: three changes are planted, and looked for."""
