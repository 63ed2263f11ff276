"""HTTP bodies of the protocol: JSON, and JSON followed by binary tensors, to and from messages."""
