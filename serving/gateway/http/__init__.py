"""HTTP in the ASGI app: routes, bodies, compression, answers."""
