"""Adapters: the only code that speaks a vendor's protocol or imports its SDK; the in-memory ports live here too."""
