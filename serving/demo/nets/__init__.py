"""The demo models as Python files that are copied beside their weights; each stands alone."""
