"""The hub of an instance: who is there, what all of them counted, and the pages operators see."""
