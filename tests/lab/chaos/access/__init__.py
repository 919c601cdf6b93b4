"""Attacks on who may call: forged tokens, doors to try them at, and a stage to be attacked."""
