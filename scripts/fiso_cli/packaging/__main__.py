"""`python -m fiso_cli.packaging --stage STAGE`: what the serverless plugin runs."""

from fiso_cli.packaging.commands import packaging_app

packaging_app()
