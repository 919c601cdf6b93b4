"""Chaos: experiments that break FISO's clouds, stores and own parts, and say in figures whether it went on."""
