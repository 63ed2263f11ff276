"""One request: held against its model, cut, rejected, passed on to another server."""
