"""The sample functions on Google Cloud Functions. Imports nothing but the framework and the portable body."""

import flask
import functions_framework

from fiso_workload import query as queries
from fiso_workload.app import handle


@functions_framework.http
def sample(request: flask.Request) -> flask.Response:
    """Answer one request; the path's last part names the function."""
    query = queries.parse(request.query_string.decode("latin-1"))
    name = request.path.strip("/").rpartition("/")[2]
    answer = handle(name, request.get_data(), query, dict(request.headers), method=request.method)
    return flask.Response(
        answer.body, status=answer.status, headers=dict(answer.headers), content_type=answer.content_type
    )
