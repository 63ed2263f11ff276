"""The model repository: folders of models and versions, completed and verified, never loaded."""
