"""Managed PostgreSQL for the catalog, on each of the three clouds, planned, made and taken back by `clouds.plan`."""
