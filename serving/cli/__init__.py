"""The command `vigil`, one module per group of commands; `command` puts them together."""

from serving.cli.command import app, main

__all__ = ["app", "main"]
