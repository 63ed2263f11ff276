"""The engine without Ray: one supervisor process, and the roles as its children."""
