"""Vigil's gateway: everything that has a process, a socket or a protocol."""
