"""What Lambda imports: composes the application while the environment starts, where the processor is not yet throttled
to the memory's share (docs/decisions/0008), so that the first request finds it there.
"""

import logging

from functions.orchestrator.handler import application, lambda_handler

__all__ = ["lambda_handler"]

try:
    application()
except Exception:
    # an environment that fails to start answers nothing at all; this way each request gets a 500 with an id
    logging.getLogger("fiso.orchestrator").exception("the application could not be composed")
