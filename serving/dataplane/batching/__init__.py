"""From a queue to batches: formed, sized, sent, cut apart again, and kept from killing replicas."""
