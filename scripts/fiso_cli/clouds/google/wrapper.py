"""A plain handler on Google: `def handle(payload)` of the user's gets what the functions framework serves."""

from collections.abc import Mapping
from pathlib import Path

WRAPPED = "handle_request"
_MAIN = b'''"""Made by `fiso deploy gcp`: JSON in, `handle(payload)`, JSON out."""

import json

import flask
import functions_framework

from handler import handle


@functions_framework.http
def handle_request(request: flask.Request) -> flask.Response:
    body = request.get_data()
    try:
        payload = json.loads(body) if body else {}
    except ValueError:
        return flask.Response('{"error": "the body is not JSON"}', status=400, mimetype="application/json")
    return flask.Response(json.dumps(handle(payload)), mimetype="application/json")
'''


def is_plain(folder: Path) -> bool:
    """Whether the folder has handler.py with `def handle(payload)` and nothing of the framework's."""
    file = folder / "handler.py"
    if (folder / "main.py").is_file() or not file.is_file():
        return False
    return "def handle(" in file.read_text(encoding="utf-8", errors="replace")


def generated(folder: Path) -> Mapping[str, bytes]:
    """The file that a plain handler lacks."""
    return {"main.py": _MAIN} if is_plain(folder) else {}
