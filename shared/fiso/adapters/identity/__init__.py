"""Tokens and issuers, and who FISO is elsewhere."""
