"""The admin listener: what operators and their browsers see."""
