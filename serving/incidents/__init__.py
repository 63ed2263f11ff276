"""Incidents: what people handle of what monitors found; opened, escalated, told and closed here."""
