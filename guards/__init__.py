"""Synchronous judges of single rows that may reject a request; a library without sockets."""
