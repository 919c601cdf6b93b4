"""The application as an Azure function app, programming model v2: one function, all routes of its own."""

from urllib.parse import urlsplit

import azure.functions as func

from tests.contract.frameworks.one_application import ROUTES, Seen, cookies_in, query_in, respond

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def _serve(request: func.HttpRequest, route: str) -> func.HttpResponse:
    headers = {name.lower(): value for name, value in request.headers.items()}
    said = respond(
        Seen(
            route=route,
            method=request.method,
            parameters=dict(request.route_params),
            query=query_in(urlsplit(request.url).query),
            headers=headers,
            cookies=cookies_in(headers.get("cookie", "")),
            body=request.get_body(),
        )
    )
    response = func.HttpResponse(said.body, status_code=said.status, headers=dict(said.headers))
    for cookie in said.cookies:
        response.headers.add("set-cookie", cookie)
    return response


def _declare(number: int, route: str) -> None:
    def serve(req: func.HttpRequest) -> func.HttpResponse:
        return _serve(req, route)

    serve.__name__ = f"route{number}"
    app.route(route=route.strip("/"), methods=list(ROUTES[route]))(serve)


for _number, _route in enumerate(ROUTES):
    _declare(_number, _route)
