"""Format `torch_export`: the archive is checked and its signature read before torch loads it."""
