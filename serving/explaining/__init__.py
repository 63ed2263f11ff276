"""The explainer role: attributions from a private copy of one model."""
