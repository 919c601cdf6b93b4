"""Migrations: numbered, forward-only SQL files and their runner.

Own code, because the need is small and exact: forty lines beat a dependency whose features (rollbacks, Python steps,
configuration files) the rules here forbid. Each file is one transaction, files that ran are held to their checksum, and
a lock lets one process migrate at a time.
"""
