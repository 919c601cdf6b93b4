"""Client: Google's own client library behind three calls: `call` one method, `find` what may be absent, `wait` for what
takes long. Everything that Google refuses leaves as one line that says the way out.

One library speaks all of Google's management APIs by their published discovery documents (google-api-python-client);
there is no gRPC in it, and any address and credential can be given to it.
"""

import json
import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPException
from typing import Any, TypeAlias

from fiso_cli.errors import CommandError

Document: TypeAlias = dict[str, Any]
Request: TypeAlias = Any
Say: TypeAlias = Callable[[str], None]

VERSIONS = {
    "aiplatform": "v1",
    "artifactregistry": "v1",
    "cloudbuild": "v1",
    "cloudresourcemanager": "v3",
    "iam": "v1",
    "logging": "v2",
    "monitoring": "v3",
    "monitoring.v1": "v1",
    "run": "v2",
    "serviceusage": "v1",
    "sqladmin": "v1",
    "storage": "v1",
}
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
ENDPOINT = "FISO_GOOGLE_ENDPOINT"
"""Names a server of one's own that speaks for all of Google's hosts, each below its name."""
TRIES = 6
LONGEST_WAIT_S = 60.0
OPERATION_S = 900.0
"""A build takes two minutes, a service half of one; longer than this is a hang."""
AGAIN = frozenset({429, 500, 502, 503, 504})
ROLES = {
    "aiplatform": "roles/aiplatform.user",
    "artifactregistry": "roles/artifactregistry.admin",
    "cloudbuild": "roles/cloudbuild.builds.viewer",
    "iam": "roles/iam.serviceAccountAdmin",
    "logging": "roles/logging.configWriter",
    "monitoring": "roles/monitoring.editor",
    "resourcemanager": "roles/resourcemanager.projectIamAdmin",
    "run": "roles/run.admin",
    "serviceusage": "roles/serviceusage.serviceUsageAdmin",
    "cloudsql": "roles/cloudsql.admin",
    "storage": "roles/storage.admin",
}
"""The predefined role that has a permission, by its first word."""
_PERMISSION = re.compile(
    r"[Pp]ermission '?([a-z]+\.[A-Za-z]+\.[A-Za-z]+)'? denied|have ([a-z]+\.[A-Za-z]+\.[A-Za-z]+) access"
)
INSTALL = "Google's client is not installed: pip install 'fiso-cli[gcp]'"
LOGIN = "nobody is signed in to Google here: gcloud auth application-default login"


class Refused(CommandError):
    """What Google refused. `code` is HTTP's; `is_disabled`: the API itself is not enabled in the project."""

    def __init__(self, message: str, code: int, *, is_disabled: bool = False) -> None:
        super().__init__(message)
        self.code, self.is_disabled = code, is_disabled


class Google:
    """Google's management APIs for one project."""

    def __init__(
        self,
        project: str,
        *,
        endpoint: str | None = None,
        credentials: Any = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        transport: Callable[[], Any] | None = None,
    ) -> None:
        """`endpoint` stands for all of Google's hosts; `transport` makes what sends requests, as httplib2.Http does."""
        self.project = project
        self.endpoint = endpoint or os.environ.get(ENDPOINT, "").rstrip("/") or None
        self._credentials, self._transport = credentials, transport
        self._sleep, self._clock = sleep, clock
        self._services: dict[str, Any] = {}
        self._number = ""
        self.enabled: set[str] = set()
        """APIs known to be enabled: one that says it is not was enabled just now, and is asked again."""

    @property
    def number(self) -> str:
        """The project's number, asked once."""
        if not self._number:
            found = self.call("cloudresourcemanager", lambda api: api.projects().get(name=f"projects/{self.project}"))
            self._number = found["name"].partition("/")[2]
        return self._number

    def another(self) -> "Google":
        """The same with connections of its own, for another thread: Google's client is not made for two."""
        made = Google(
            self.project,
            endpoint=self.endpoint,
            credentials=self._credentials,
            sleep=self._sleep,
            clock=self._clock,
            transport=self._transport,
        )
        made._number, made.enabled = self._number, self.enabled
        return made

    def close(self) -> None:
        """End the connections."""
        for service in self._services.values():
            service.close()
        self._services.clear()

    def api(self, name: str) -> Any:
        """One API by the first word of its host; with a region before it, that region's (`us-central1-aiplatform`)."""
        if name not in self._services:
            self._services[name] = self._built(name)
        return self._services[name]

    def call(self, name: str, method: Callable[[Any], Request]) -> Document:
        """The answer of a method. `Refused` in one line; what is busy or away is asked again, with growing pauses.

        It may be carried out twice: what is made has a name that follows from what is wanted, so that the second try
        is answered that it exists.
        """
        request, waited = method(self.api(name)), 0.0
        for attempt in range(1, TRIES + 1):
            try:
                answer: Document = self._sent(request)
            except Exception as error:
                pause = self._pause(error, attempt)
                if pause is None or waited + pause > LONGEST_WAIT_S * 2:
                    raise self._refused(error) from error
                self._sleep(pause)
                waited += pause
                continue
            return answer
        raise AssertionError("the last attempt returned or raised")

    def find(self, name: str, method: Callable[[Any], Request]) -> Document | None:
        """The answer of a method; None for what is not there, and where the API is not enabled yet."""
        try:
            return self.call(name, method)
        except Refused as refused:
            if refused.code == 404 or refused.is_disabled:
                return None
            raise

    def pages(self, name: str, method: Callable[[Any, str | None], Request], key: str) -> Iterator[Document]:
        """All things of a list, page by page; none where the API is not enabled."""
        token: str | None = None
        while True:
            page = self.find(name, partial(_with_token, method, token)) or {}
            yield from page.get(key, [])
            token = page.get("nextPageToken")
            if not token:
                return

    def upload(self, bucket: str, name: str, content: bytes, *, over: str = "0", holder: str = "") -> Document:
        """Write an object over the one of a generation; `0`: only where there is none. `Refused` 412 otherwise."""
        from googleapiclient.http import MediaInMemoryUpload

        body = {"name": name, **({"metadata": {"holder": holder}} if holder else {})}
        media = MediaInMemoryUpload(content, mimetype="application/octet-stream")
        return self.call(
            "storage",
            lambda api: api.objects().insert(bucket=bucket, ifGenerationMatch=over, body=body, media_body=media),
        )

    def download(self, bucket: str, name: str) -> bytes | None:
        """An object's content; None where there is none."""
        found = self.find("storage", lambda api: _Media(api.objects().get_media(bucket=bucket, object=name)))
        return found["content"] if found is not None else None

    def pause(self, seconds: float) -> None:
        """Until somebody else may be done."""
        self._sleep(seconds)

    def wait(self, name: str, operation: Document, say: Say, what: str) -> Document:
        """The response of a long-running operation. `Refused` where it failed, or hangs for a quarter of an hour."""
        began, pause, told = self._clock(), 0.5, 0.0
        while not operation.get("done"):
            spent = self._clock() - began
            if spent > OPERATION_S:
                raise Refused(f"{what}: not done after {spent:.0f} s ({operation['name']}); run it again later", 504)
            if spent - told >= 15:
                told = spent
                say(f"{what}: {spent:.0f} s …")
            self._sleep(pause)
            pause = min(pause * 1.5, 5.0)
            operation = self.call(name, partial(_operation, name, operation["name"]))
        if error := operation.get("error"):
            raise Refused(f"{what}: {_one_line(error.get('message', error))}", 500)
        found: Document = operation.get("response", {})
        return found

    def _sent(self, request: Request) -> Document:
        content = request.execute(num_retries=0)
        return content if isinstance(content, dict) else {}

    def _pause(self, error: Exception, attempt: int) -> float | None:
        """How long until it is asked again; None: not at all."""
        if attempt >= TRIES:
            return None
        grown = min(2.0 ** (attempt - 1), 30.0) * (0.75 + random.random() / 2)  # nosec B311  spreads callers
        status = _status(error)
        if status is None:
            return grown if _is_network(error) else None
        if (_detail(_error_document(error), "SERVICE_DISABLED") or {}).get("service") in self.enabled:
            return min(2.0**attempt, 30.0)
        if status not in AGAIN:
            return None
        said = _retry_after(error)
        return grown if said is None else min(max(said, 0.1), LONGEST_WAIT_S)

    def _refused(self, error: Exception) -> CommandError:
        status = _status(error)
        if status is None:
            return _unreachable(error)
        document = _error_document(error)
        message = _one_line(document.get("message") or f"Google answered {status}")
        if disabled := _detail(document, "SERVICE_DISABLED"):
            api = disabled.get("service", "the API")
            way_out = f"gcloud services enable {api} --project {self.project}"
            return Refused(f"{api} is not enabled: {way_out}", status, is_disabled=True)
        if status == 403 and (permission := _permission(document)):
            role = ROLES.get(permission.partition(".")[0], "a role that has it")
            return Refused(
                f"{permission} is missing: gcloud projects add-iam-policy-binding {self.project} "
                f"--member user:YOU --role {role}",
                status,
            )
        if status == 401:
            return Refused(LOGIN, status)
        return Refused(message, status)

    def _built(self, name: str) -> Any:
        try:
            from googleapiclient.discovery import build_from_document
            from googleapiclient.discovery_cache import get_static_doc
        except ImportError as error:
            raise CommandError(INSTALL) from error
        logging.getLogger("googleapiclient.http").setLevel(logging.ERROR)  # it warns of each 404, which a look expects
        host = name.partition(".")[0]  # monitoring speaks two versions
        region, _, plain = host.rpartition("-")
        document = json.loads(get_static_doc(plain, VERSIONS[name.removeprefix(f"{region}-")]))
        if self.endpoint or region:
            root = f"{self.endpoint or 'https:/'}/{host}.googleapis.com/"
            document |= {"rootUrl": root, "baseUrl": root + document["servicePath"]}
            document.pop("mtlsRootUrl", None)
        return build_from_document(document, http=self._http())

    def _http(self) -> Any:
        import google_auth_httplib2
        import httplib2

        plain = self._transport() if self._transport else httplib2.Http(timeout=60)
        return google_auth_httplib2.AuthorizedHttp(self._signed_in(), http=plain)

    def _signed_in(self) -> Any:
        if self._credentials is None:
            self._credentials = _local_credentials() if self.endpoint else _default_credentials(self.project)
        return self._credentials


def _local_credentials() -> Any:
    from google.oauth2.credentials import Credentials

    return Credentials(token="local")  # type: ignore[no-untyped-call]  # nosec B106  a word for a server on loopback


def _default_credentials(project: str) -> Any:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError
    from google.oauth2.credentials import Credentials

    try:
        found = google.auth.default(scopes=SCOPES)[0]
    except DefaultCredentialsError as error:
        raise CommandError(LOGIN) from error
    if isinstance(found, Credentials) and not found.quota_project_id:
        # a person's calls count for the project that they are about: some APIs refuse them otherwise
        return found.with_quota_project(project)
    return found


class _Media:
    """A request for content, answered as a document."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def execute(self, num_retries: int = 0) -> Document:
        return {"content": self._request.execute(num_retries=num_retries)}


def _with_token(method: Callable[[Any, str | None], Request], token: str | None, api: Any) -> Request:
    return method(api, token)


def _operation(name: str, operation: str, api: Any) -> Request:
    if name == "serviceusage":
        return api.operations().get(name=operation)
    *_, collection, _, _, _ = operation.split("/")
    places = api.projects().locations()
    # an operation of a model or an endpoint stands below it (`locations/L/models/M/operations/O`)
    owner = places if collection == "locations" else getattr(places, collection)()
    return owner.operations().get(name=operation)


def _status(error: Exception) -> int | None:
    response = getattr(error, "resp", None)
    return int(response.status) if response is not None else None


def _error_document(error: Exception) -> Document:
    try:
        found = json.loads(getattr(error, "content", b""))["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {"message": found}


def _detail(document: Document, reason: str) -> Document | None:
    """The metadata of an ErrorInfo with that reason."""
    for detail in document.get("details", []):
        if detail.get("reason") == reason:
            return dict(detail.get("metadata", {}))
    return None


def _permission(document: Document) -> str:
    if told := (_detail(document, "IAM_PERMISSION_DENIED") or {}).get("permission"):
        return str(told)
    found = _PERMISSION.search(str(document.get("message", "")))
    return next((word for word in found.groups() if word), "") if found else ""


def _retry_after(error: Exception) -> float | None:
    """Seconds, by the header or by google.rpc.RetryInfo."""
    response: Any = getattr(error, "resp", {})
    with_header = str(response.get("retry-after", ""))
    if with_header.isdigit():
        return float(with_header)
    for detail in _error_document(error).get("details", []):
        delay = str(detail.get("retryDelay", ""))
        if re.fullmatch(r"\d+(\.\d+)?s", delay):
            return float(delay[:-1])
    return None


def _is_network(error: Exception) -> bool:
    from google.auth.exceptions import TransportError
    from httplib2.error import HttpLib2Error

    return isinstance(error, OSError | HttpLib2Error | HTTPException | TransportError)


def _unreachable(error: Exception) -> CommandError:
    """What went wrong before there was an answer: the network, or the credentials. Anything else is a fault of ours."""
    from google.auth.exceptions import GoogleAuthError

    if _is_network(error):
        return Refused(f"Google cannot be reached: {_one_line(error)}", 503)
    if isinstance(error, GoogleAuthError):
        return Refused(LOGIN, 401)
    raise error


def _one_line(what: object) -> str:
    return " ".join(str(what).split())[:300]
