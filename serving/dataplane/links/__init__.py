"""Links from a gateway to the replicas of a model."""
