"""`python -m fiso_cli.packaging --stage STAGE`: what the serverless plugin runs; `fiso package`."""

import sys

from fiso_cli.main import app

app(["package", *sys.argv[1:]])
