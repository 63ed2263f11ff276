"""Open Inference Protocol v2: messages and their codecs. Nothing here does I/O."""
