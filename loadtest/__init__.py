"""Races between Vigil and its peers on one machine, and the reports they leave."""
