"""What keeps a gateway process lean while it runs: the collector, and memory given back."""
