"""Codecs: what goes over a wire or into a store, and back."""
