"""A development issuer of tokens (OpenID Connect) for the local stage: it believes whatever name it is told."""
