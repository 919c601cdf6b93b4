"""Discovery: Google's published description of each API, as its own client ships it: which method a request is, and
whether a document has the form that the method takes. Holds no state.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias
from urllib.parse import unquote

from googleapiclient.discovery_cache import get_static_doc

Document: TypeAlias = dict[str, Any]

VERSIONS = {
    "aiplatform": "v1",
    "artifactregistry": "v1",
    "cloudbuild": "v1",
    "cloudresourcemanager": "v3",
    "iam": "v1",
    "iamcredentials": "v1",
    "logging": "v2",
    "monitoring": "v3",
    "orgpolicy": "v2",
    "run": "v2",
    "serviceusage": "v1",
    "sqladmin": "v1",
    "storage": "v1",
    "sts": "v1",
}
"""The APIs that are spoken here, by the first part of their host's name."""
OTHERS = {("monitoring", "v1"): "v1"}
"""Dashboards have an older version of their own."""
_PLACEHOLDER = re.compile(r"\{(\+?)(\w+)\}")
_DURATION = re.compile(r"-?\d{1,12}(\.\d{1,9})?s")
_ANYWHERE = frozenset({"alt", "fields", "key", "prettyPrint", "quotaUser", "uploadType", "$.xgafv", "access_token"})


class Invalid(ValueError):
    """What Google answers with 400 INVALID_ARGUMENT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method of an API: how it is called, and the form of what goes in and comes out."""

    id: str
    verb: str
    path: re.Pattern[str]
    upload: re.Pattern[str] | None
    query: Mapping[str, Document]
    request: str | None
    response: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A method and what the path says."""

    method: Method
    path: Mapping[str, str]
    is_upload: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One API by its discovery document."""

    host: str
    methods: tuple[Method, ...]
    schemas: Mapping[str, Document]

    def find(self, verb: str, path: str) -> Found | None:
        """The method of a request; None for one that the vendor does not have."""
        for method in self.methods:
            if method.verb != verb:
                continue
            for pattern, is_upload in ((method.path, False), (method.upload, True)):
                if pattern and (found := pattern.fullmatch(path)):
                    given = {name: unquote(value) for name, value in found.groupdict().items()}
                    return Found(method=method, path=given, is_upload=is_upload)
        return None

    def check_query(self, method: Method, query: Mapping[str, str]) -> None:
        """`Invalid` for a parameter that is unknown, missing, or of another type."""
        for name, value in query.items():
            if name in _ANYWHERE:
                continue
            if name not in method.query:
                raise Invalid(f'Unknown name "{name}": Cannot bind query parameter. Field could not be found.')
            self._check_word(method.query[name], value, name)
        for name, schema in method.query.items():
            if schema.get("required") and name not in query:
                raise Invalid(f"Required parameter: {name}")

    def check(self, schema: str | None, document: object, *, is_request: bool) -> None:
        """`Invalid` where a document is not of the form, or a request's lacks a field that is called required."""
        if schema is None:
            if document:
                raise Invalid("Invalid JSON payload received: this method takes no body.")
            return
        self._check({"$ref": schema}, document, "", is_request)

    def _check(self, schema: Document, value: object, at: str, is_request: bool) -> None:
        if ref := schema.get("$ref"):
            schema = self.schemas[ref]
        kind = schema.get("type", "any")
        if kind == "object":
            self._check_object(schema, value, at, is_request)
        elif kind == "array":
            if not isinstance(value, list):
                raise Invalid(f"Invalid value at '{at}': not a list")
            for number, each in enumerate(value):
                self._check(schema["items"], each, f"{at}[{number}]", is_request)
        elif kind != "any":
            self._check_scalar(schema, kind, value, at)

    def _check_object(self, schema: Document, value: object, at: str, is_request: bool) -> None:
        if not isinstance(value, dict):
            raise Invalid(f"Invalid value at '{at}': not an object")
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name, each in value.items():
            place = f"{at}.{name}" if at else name
            if name not in known and others is None:
                raise Invalid(f"Invalid JSON payload received. Unknown name \"{name}\" at '{at}': Cannot find field.")
            self._check(known.get(name, others), each, place, is_request)
        missing = [name for name, each in known.items() if _is_required(each) and name not in value]
        if is_request and missing:
            raise Invalid(f"Required field {f'{at}.' if at else ''}{missing[0]} is not set")

    def _check_scalar(self, schema: Document, kind: str, value: object, at: str) -> None:
        wanted: dict[str, tuple[type, ...]] = {"string": (str,), "boolean": (bool,), "integer": (int,)}
        if not isinstance(value, wanted.get(kind, (int, float))) or (isinstance(value, bool) and kind != "boolean"):
            raise Invalid(f"Invalid value at '{at}' ({kind}), {json.dumps(value)}")
        if isinstance(value, str):
            self._check_word(schema, value, at)

    @staticmethod
    def _check_word(schema: Document, value: str, at: str) -> None:
        form = schema.get("format", "")
        is_wrong = (
            ("enum" in schema and value not in schema["enum"])
            or (form in ("int64", "int32") and not re.fullmatch(r"-?\d+", value))
            or (form == "google-duration" and not _DURATION.fullmatch(value))
            or (schema.get("type") == "boolean" and value not in ("true", "false"))
        )
        if is_wrong:
            raise Invalid(f"Invalid value at '{at}' ({schema.get('type')} {form}), {json.dumps(value)}")


def _is_required(schema: Document) -> bool:
    """The documents say it in words alone."""
    return str(schema.get("description", "")).startswith("Required.")


def service(host: str) -> str:
    """The API's own host, where a region's was named."""
    return re.sub(r"^[a-z]+-[a-z]+\d+-(?=aiplatform\.)", "", host)


@cache
def load(host: str, version: str = "") -> Api | None:
    """The API of a host's name, as `run.googleapis.com`, in the version that a path begins with where the host has
    several; None for one that is not spoken here."""
    host = service(host)
    name = host.partition(".")[0]
    if name not in VERSIONS or host != f"{name}.googleapis.com":
        return None
    document: Document = json.loads(get_static_doc(name, OTHERS.get((name, version), VERSIONS[name])))
    methods = tuple(_methods(document, document["servicePath"]))
    # the more specific first: of `{+name}` and `{+name}:cancel` both match the second
    ordered = sorted(methods, key=lambda method: -len(re.sub(r"\(.*?\)", "", method.path.pattern)))
    return Api(host=host, methods=tuple(ordered), schemas=document["schemas"])


def _methods(resource: Document, root: str) -> Iterator[Method]:
    for method in resource.get("methods", {}).values():
        parameters = method.get("parameters", {})
        upload = method.get("mediaUpload", {}).get("protocols", {}).get("simple", {}).get("path")
        yield Method(
            id=method["id"],
            verb=method["httpMethod"],
            path=_pattern(f"/{root}{method['path']}", parameters),
            upload=_pattern(upload, parameters) if upload else None,
            query={name: each for name, each in parameters.items() if each["location"] == "query"},
            request=method.get("request", {}).get("$ref"),
            response=method.get("response", {}).get("$ref"),
        )
    for part in resource.get("resources", {}).values():
        yield from _methods(part, root)


def _pattern(path: str, parameters: Mapping[str, Document]) -> re.Pattern[str]:
    written, end = "", 0
    for found in _PLACEHOLDER.finditer(path):
        form = parameters.get(found[2], {}).get("pattern", "^.+$" if found[1] else "^[^/]+$").strip("^$")
        # a custom verb ends a segment: a name does not reach over its colon
        written += re.escape(path[end : found.start()]) + f"(?P<{found[2]}>{form.replace('[^/]+', '[^/:]+')})"
        end = found.end()
    return re.compile(written + re.escape(path[end:]))
