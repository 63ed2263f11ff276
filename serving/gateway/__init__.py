"""The gateway's transports: they convert, call the data plane, and convert back."""
