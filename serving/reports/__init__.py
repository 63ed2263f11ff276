"""Reports about one version of a model: what they hold, and their pages."""
