"""How torch models compute: tensors, devices, precision, compiled graphs, batches in a pipeline."""
