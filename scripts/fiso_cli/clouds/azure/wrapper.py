"""A plain handler on Azure: `def handle(payload)` of the user's gets the function app that Azure begins with."""

from collections.abc import Mapping
from pathlib import Path

from fiso_cli.errors import BadInput

_MODULES = ("handler.py", "main.py")
HOST = b"""{
  "version": "2.0",
  "extensions": {"http": {"routePrefix": "api"}}
}
"""
_APP = '''"""Made by `fiso deploy azure`: JSON in, `handle(payload)`, JSON out, behind App Service Authentication."""

import json

import azure.functions as func

from {module} import handle

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="{name}", methods=["GET", "POST"])
def {function}(req: func.HttpRequest) -> func.HttpResponse:
    body = req.get_body()
    try:
        payload = json.loads(body) if body else {{}}
    except ValueError:
        return func.HttpResponse('{{"error": "the body is not JSON"}}', status_code=400, mimetype="application/json")
    return func.HttpResponse(json.dumps(handle(payload)), mimetype="application/json")
'''


def generated(folder: Path, name: str) -> Mapping[str, bytes]:
    """The files that a folder lacks to be a function app; the user's own win. `BadInput` for neither form."""
    if (folder / "function_app.py").is_file():
        return {"host.json": HOST}
    for module in _MODULES:
        file = folder / module
        if file.is_file() and "def handle(" in file.read_text(encoding="utf-8", errors="replace"):
            function = name.replace("-", "_")
            function = function if function.isidentifier() else f"f_{function}"
            app = _APP.format(module=module.removesuffix(".py"), name=name, function=function)
            return {"function_app.py": app.encode(), "host.json": HOST}
    raise BadInput(
        f"{folder}: neither function_app.py (Azure's v2 programming model) nor handler.py with `def handle(payload)`"
    )
