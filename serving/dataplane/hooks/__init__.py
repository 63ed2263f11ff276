"""What is told of batches and requests once they are over: metrics, statistics, traces, events."""
