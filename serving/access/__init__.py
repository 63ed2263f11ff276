"""Who may ask for what; every listener asks here."""
