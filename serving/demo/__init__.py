"""Three small models, trained on the spot, that show what Vigil does."""
