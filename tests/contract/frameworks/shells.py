"""The application in the frameworks that people use on Lambda and on Google: each with its own routing."""

import base64
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote

import apig_wsgi
import flask
import serverless_wsgi
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.event_handler import Response as PowertoolsResponse
from fastapi import FastAPI
from fastapi import Request as FastRequest
from fastapi import Response as FastResponse
from mangum import Mangum

from tests.contract.frameworks.one_application import ROUTES, Said, Seen, cookies_in, query_in, respond

Handler = Callable[[dict[str, Any], Any], Any]


def fastapi_app() -> FastAPI:
    app = FastAPI(openapi_url=None)
    for route, methods in ROUTES.items():

        async def endpoint(request: FastRequest, *, route: str = route) -> FastResponse:
            said = respond(
                Seen(
                    route=route,
                    method=request.method,
                    parameters=request.path_params,
                    query=request.query_params.multi_items(),
                    headers=request.headers,
                    cookies=request.cookies,
                    body=await request.body(),
                )
            )
            response = FastResponse(said.body, status_code=said.status, headers=dict(said.headers))
            for cookie in said.cookies:
                response.headers.append("set-cookie", cookie)
            return response

        app.add_api_route(route, partial(endpoint, route=route), methods=list(methods), response_class=FastResponse)
    return app


def flask_app() -> flask.Flask:
    app = flask.Flask("one")
    for route, methods in ROUTES.items():

        def view(route: str = route, **parameters: str) -> flask.Response:
            return flask_response(respond(flask_seen(route, parameters, flask.request)))

        rule = route.replace("{", "<").replace("}", ">")
        app.add_url_rule(rule, route, view, methods=list(methods), provide_automatic_options=False)
    return app


def flask_seen(route: str, parameters: Mapping[str, str], request: flask.Request) -> Seen:
    return Seen(
        route=route,
        method=request.method,
        parameters=parameters,
        query=list(request.args.items(multi=True)),
        headers={name.lower(): value for name, value in request.headers.items()},
        cookies=request.cookies,
        body=request.get_data(),
    )


def flask_response(said: Said) -> flask.Response:
    response = flask.Response(said.body, status=said.status)
    del response.headers["content-type"]
    for name, value in said.headers.items():
        response.headers[name] = value
    for cookie in said.cookies:
        response.headers.add("set-cookie", cookie)
    return response


def powertools_app() -> APIGatewayHttpResolver:
    app = APIGatewayHttpResolver()
    for number, (route, methods) in enumerate(ROUTES.items()):
        endpoint = _powertools_endpoint(app, route)
        endpoint.__name__ = f"route{number}"
        app.route(route.replace("{", "<").replace("}", ">"), method=list(methods))(endpoint)
    return app


def _powertools_endpoint(app: APIGatewayHttpResolver, route: str) -> Callable[..., PowertoolsResponse[Any]]:
    def endpoint(**parameters: str) -> PowertoolsResponse[Any]:
        event = app.current_event
        body = event.body or ""
        said = respond(
            Seen(
                route=route,
                method=event.http_method,
                # it hands on what stands in the path, and leaves it to the application to decode it
                parameters={name: unquote(value) for name, value in parameters.items()},
                query=query_in(event["rawQueryString"]),
                headers=event.headers,
                cookies=cookies_in("; ".join(event.get("cookies") or ())),
                body=base64.b64decode(body) if event.is_base64_encoded else body.encode(),
            )
        )
        headers: dict[str, Any] = dict(said.headers)
        content_type = headers.pop("content-type", None)
        cookies: list[Any] = list(said.cookies)
        # it serialises what is JSON by its type itself, unless it is text already
        text = said.body.decode() if "json" in (content_type or "") else said.body
        return PowertoolsResponse(said.status, content_type=content_type, body=text, headers=headers, cookies=cookies)

    return endpoint


def with_mangum() -> Handler:
    return Mangum(fastapi_app(), lifespan="off")


def with_apig_wsgi() -> Handler:
    handler: Handler = apig_wsgi.make_lambda_handler(flask_app(), binary_support=True)
    return handler


def with_serverless_wsgi() -> Handler:
    app = flask_app()
    return lambda event, context: serverless_wsgi.handle_request(app, event, context)


def with_powertools() -> Handler:
    return powertools_app().resolve


_PATTERNS = {route: re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route)) for route in ROUTES}


def google_function(request: flask.Request) -> flask.Response:
    """What functions-framework calls: one function for all paths."""
    for route, pattern in _PATTERNS.items():
        if (found := pattern.fullmatch(request.path)) and request.method in ROUTES[route]:
            return flask_response(respond(flask_seen(route, found.groupdict(), request)))
    return flask.Response("no such route", status=404)
