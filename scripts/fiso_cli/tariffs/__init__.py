"""Tariffs: showing, invoicing and renewing the price lists."""
