"""Engines start the roles and keep them: `local` without Ray, `ray` with it."""
