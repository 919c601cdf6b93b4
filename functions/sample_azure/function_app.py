"""The sample functions on Azure Functions, v2 programming model. Imports nothing but the SDK and the portable body."""

import os
from urllib.parse import urlsplit

import azure.functions as func

from fiso_workload import query as queries
from fiso_workload.app import handle

# a key, unless whoever deployed it put App Service Authentication before it (`fiso deploy azure` does, and says so)
app = func.FunctionApp(http_auth_level=func.AuthLevel[os.environ.get("FISO_HTTP_AUTH_LEVEL", "FUNCTION")])


@app.route(route="{name}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def sample(req: func.HttpRequest) -> func.HttpResponse:
    """Answer one request; the route names the function."""
    query = queries.parse(urlsplit(req.url).query)
    answer = handle(req.route_params.get("name", ""), req.get_body(), query, req.headers, method=str(req.method))
    return func.HttpResponse(
        answer.body, status_code=answer.status, headers=dict(answer.headers), mimetype=answer.content_type
    )
