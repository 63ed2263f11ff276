"""A client's HTTP calls to other servers."""
