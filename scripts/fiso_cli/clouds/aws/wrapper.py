"""A plain handler on Lambda: `def handle(payload)` of the user's gets what Lambda calls, for the router's HTTP event
and for the payload itself."""

from collections.abc import Mapping
from pathlib import Path

from fiso_cli.errors import BadInput

_NAMES = ("lambda_handler", "handler")
WRAPPED = "fiso_handler.lambda_handler"
_HANDLER = b'''"""Made by `fiso deploy aws-function`: JSON in, `handle(payload)`, JSON out."""

import base64
import json

from handler import handle


def lambda_handler(event, context):
    if not (isinstance(event, dict) and event.get("version") == "2.0" and "requestContext" in event):
        return handle(event)
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body)
    try:
        payload = json.loads(body) if body else {}
    except ValueError:
        return _answer(400, {"error": "the body is not JSON"})
    return _answer(200, handle(payload))


def _answer(status, document):
    headers = {"content-type": "application/json"}
    return {"statusCode": status, "headers": headers, "body": json.dumps(document)}
'''


def generated(folder: Path) -> Mapping[str, bytes]:
    """The file that a plain handler lacks."""
    return {"fiso_handler.py": _HANDLER} if _is_plain(folder) else {}


def handler_of(folder: Path, given: str = "") -> str:
    """What Lambda calls, `module.function`: the one given, the wrapper's, or what the folder's handler.py or
    lambda_function.py names by custom. `BadInput` where there is none."""
    if given:
        module, dot, name = given.rpartition(".")
        if not dot or not name.isidentifier() or not _file(folder, module).is_file():
            raise BadInput(f"--handler {given!r}: must be MODULE.FUNCTION of {folder}, as in handler.lambda_handler")
        return given
    for module in ("handler", "lambda_function"):
        text = _text(_file(folder, module))
        for name in _NAMES:
            if f"def {name}(" in text:
                return f"{module}.{name}"
    if _is_plain(folder):
        return WRAPPED
    raise BadInput(f"{folder}: no handler.py with lambda_handler(event, context) or handle(payload): say --handler")


def module_file(handler: str) -> str:
    """The file of a handler, as a package has it."""
    return handler.rpartition(".")[0].replace(".", "/") + ".py"


def _is_plain(folder: Path) -> bool:
    return "def handle(" in _text(folder / "handler.py") and "def lambda_handler(" not in _text(folder / "handler.py")


def _file(folder: Path, module: str) -> Path:
    return folder / (module.replace(".", "/") + ".py")


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
