"""AWS, signed by our own client."""
