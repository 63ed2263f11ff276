"""Windowed, asynchronous judges of a served model; a library without sockets or processes."""
