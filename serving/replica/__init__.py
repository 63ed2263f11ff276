"""The replica role: one model version on one device, or on another server, that runs batches."""
