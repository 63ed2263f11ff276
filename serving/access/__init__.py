"""Who may ask for what: scopes, principals, and the one decision that every listener asks for."""
