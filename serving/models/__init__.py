"""What a model is to Vigil, the formats it can come in, and the repository they lie in."""
