"""The guards of a model, wherever they run: built from its configuration, their failures told."""
