"""What keeps a request alive when clouds fail."""
