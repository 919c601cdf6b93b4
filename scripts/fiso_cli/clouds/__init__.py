"""Clouds: what `fiso deploy` and `fiso trust` make in somebody's account, planned, applied and taken back by one
engine.

Vendors' SDKs are extras of the command, imported where a cloud is spoken to and nowhere else.
"""
