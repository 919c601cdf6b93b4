"""Tokens and issuers."""
