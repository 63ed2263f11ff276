"""The engine on Ray Serve; nothing else imports Ray."""
