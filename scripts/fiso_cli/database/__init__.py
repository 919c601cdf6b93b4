"""The catalog's database moved to another server: copied, verified, cut over, and back."""
