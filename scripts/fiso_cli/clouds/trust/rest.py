"""Rest: management APIs of Azure, Entra and Google as JSON over HTTPS, with whoever is signed in here.

Asks again what is busy (429, 5xx, with the pause that the answer wishes); follows pages, never to another host. What is
refused leaves as `Refused`: one line.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from fiso.domain.identity import ENTRAS
from fiso_cli.errors import CommandError

Document: TypeAlias = dict[str, Any]
Token: TypeAlias = Callable[[], str]
TRIES, LONGEST_PAUSE_S = 6, 30.0
TIMEOUT_S = 30.0
AZURE_EXTRA = "Azure's login is not installed: pip install 'fiso-cli[azure]'"
GOOGLE_EXTRA = "Google's login is not installed: pip install 'fiso-cli[gcp]'"
AZURE_LOGIN, GOOGLE_LOGIN = "az login", "gcloud auth application-default login"


class Refused(CommandError):
    """What a cloud refused: HTTP's `status`, and the cloud's own `code`."""

    def __init__(self, message: str, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code

    @property
    def is_disabled(self) -> bool:
        """An API of Google's that is not enabled in the project."""
        return self.status == 403 and ("has not been used in project" in str(self) or "SERVICE_DISABLED" in str(self))


class NotSignedIn(CommandError):
    """Nobody is signed in here, or what signs in is not installed."""


class Rest:
    """One host. `fix` says, of a refusal's code, how to get what is missing."""

    def __init__(
        self,
        url: str,
        token: Token,
        *,
        fix: Callable[[int, str], str] = lambda *_: "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx

        self.url, self._token, self._fix, self._sleep = url.rstrip("/"), token, fix, sleep
        is_here = is_loopback(url)
        kept = httpx.Limits(max_keepalive_connections=0 if is_here else 8)
        self._client = httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, verify=not is_here, limits=kept)
        self.dated: str | None = None
        """How the last answer dated itself."""

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Document:
        """The answer's document, `{}` where it has none. `Refused`, `NotSignedIn` or `CommandError`."""
        import httpx

        url = path if urlsplit(path).scheme else self.url + path
        if urlsplit(url)[:2] != urlsplit(self.url)[:2]:
            raise CommandError(f"{self.url} goes on at another host: not followed")
        sent = {"authorization": f"Bearer {self._token()}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        for attempt in range(TRIES):
            try:
                answer = self._client.request(method, url, headers=sent, json=body)
            except httpx.HTTPError as error:
                if attempt + 1 == TRIES:
                    raise CommandError(f"{urlsplit(url).netloc} does not answer: {type(error).__name__}") from error
                self._sleep(min(0.5 * 2**attempt, LONGEST_PAUSE_S))
                continue
            self.dated = next(reversed(answer.headers.get_list("date")), None)
            if answer.status_code not in (429, 500, 502, 503, 504) or attempt + 1 == TRIES:
                break
            self._sleep(_pause_s(answer.headers.get("retry-after", ""), attempt))
        document = _document(answer)
        if answer.status_code < 300:
            return document
        raise self._refused(method, url, answer.status_code, document)

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def pause(self, attempt: int) -> None:
        """Before something is tried or looked at again."""
        self._sleep(min(0.5 * 2**attempt, 8.0))

    def find(self, path: str) -> Document | None:
        """None for what is not there, and where the API is not enabled yet."""
        try:
            return self.call("GET", path)
        except Refused as refused:
            if refused.status == 404 or refused.is_disabled:
                return None
            raise

    def listed(self, path: str, key: str = "value") -> Iterator[Document]:
        """All pages: a link to the next one (Graph, Azure) or a token for it (Google)."""
        page = self.call("GET", path)
        while True:
            yield from page.get(key, [])
            link, token = page.get("@odata.nextLink") or page.get("nextLink"), page.get("nextPageToken")
            if not link and not token:
                return
            page = self.call("GET", link or f"{path}{'&' if '?' in path else '?'}pageToken={token}")

    def _refused(self, method: str, url: str, status: int, document: Document) -> Refused:
        error = document.get("error")
        said = error if isinstance(error, dict) else {}
        code = str(said.get("code") if isinstance(said.get("code"), str) else said.get("status") or "")
        message = " ".join(str(said.get("message") or "").split())[:200]
        way_out = self._fix(status, f"{code} {message}")
        what = f"{method} {urlsplit(url).netloc}{urlsplit(url).path}"
        line = f"{what}: {status} {code}".rstrip() + (f": {message}" if message else "")
        return Refused(line + (f" ({way_out})" if way_out else ""), status, code)


def _pause_s(wish: str, attempt: int) -> float:
    return min(float(wish), LONGEST_PAUSE_S) if wish.isdecimal() else min(0.5 * 2**attempt, LONGEST_PAUSE_S)


def _document(answer: Any) -> Document:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "localhost")


def endpoint(variable: str, public: str) -> str:
    """A cloud's own address, or a server on this machine that stands in for it."""
    named = os.environ.get(variable, "").rstrip("/")
    if named and not is_loopback(named):
        raise CommandError(f"{variable} names another host than this machine's: unset it")
    return named or public


def azure_token(scope: str, login: str = ENTRAS["public"][0]) -> Token:
    """Of whoever `az login`, a workload identity or the environment say. `NotSignedIn`."""

    def token() -> str:
        try:
            from azure.core.exceptions import ClientAuthenticationError
            from azure.identity import CredentialUnavailableError, DefaultAzureCredential
        except ModuleNotFoundError as error:
            raise NotSignedIn(AZURE_EXTRA) from error
        try:
            return str(credential(DefaultAzureCredential).get_token(scope).token)
        except (ClientAuthenticationError, CredentialUnavailableError) as error:
            raise NotSignedIn(f"nobody is signed in to Azure here: {AZURE_LOGIN}") from error

    kept: list[Any] = []

    def credential(kind: Any) -> Any:
        if not kept:
            kept.append(kind(authority=login, exclude_interactive_browser_credential=True))
        return kept[0]

    return token


def google_token() -> Token:
    """Of Google's application default credentials. `NotSignedIn`."""
    kept: list[Any] = []

    def token() -> str:
        try:
            import google.auth
            from google.auth.exceptions import GoogleAuthError
            from google.auth.transport.requests import Request
        except ModuleNotFoundError as error:
            raise NotSignedIn(GOOGLE_EXTRA) from error
        try:
            if not kept:
                kept.append(google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])[0])
            if not kept[0].valid:
                kept[0].refresh(Request())
        except GoogleAuthError as error:
            raise NotSignedIn(f"nobody is signed in to Google here: {GOOGLE_LOGIN}") from error
        return str(kept[0].token)

    return token


GRAPHS = {
    "public": "https://graph.microsoft.com",
    "usgov": "https://graph.microsoft.us",
    "china": "https://microsoftgraph.chinacloudapi.cn",
}


def graph(local: str = "", cloud: str = "public", **more: Any) -> Rest:
    """Microsoft Graph of one of Azure's clouds, or the local stage's."""
    url = local or endpoint("FISO_GRAPH_ENDPOINT", GRAPHS[cloud])
    token = _local_word if is_loopback(url) else azure_token(f"{GRAPHS[cloud]}/.default", ENTRAS[cloud][0])
    return Rest(f"{url}/v1.0", token, fix=_graph_fix, **more)


def arm(local: str = "", **more: Any) -> Rest:
    """Azure Resource Manager, or the local stage's."""
    url = local or endpoint("FISO_ARM_ENDPOINT", "https://management.azure.com")
    token = _local_word if is_loopback(url) else azure_token("https://management.azure.com/.default")
    return Rest(url, token, **more)


class GoogleApis:
    """Google's management APIs by the first word of their hosts; one login serves all."""

    def __init__(self, *, url: str = "", token: Token | None = None, **more: Any) -> None:
        self._url = url or endpoint("FISO_GOOGLE_ENDPOINT", "")
        self._token = token or (_local_word if self._url else google_token())
        self._more, self._known = more, dict[str, Rest]()

    def close(self) -> None:
        """End the connections."""
        for each in self._known.values():
            each.close()

    def __getitem__(self, name: str) -> Rest:
        if name not in self._known:
            host = f"{name}.googleapis.com"
            url = f"{self._url}/{host}" if self._url else f"https://{host}"
            self._known[name] = Rest(url, self._token, fix=_google_fix, **self._more)
        return self._known[name]


def _local_word() -> str:
    return "local"


def _graph_fix(status: int, _said: str) -> str:
    if status == 401:
        return AZURE_LOGIN
    if status == 403:
        return (
            "you need the role Application Administrator: az rest --method POST --url "
            "https://graph.microsoft.com/v1.0/roleManagement/directory/roleAssignments --body "
            '\'{"roleDefinitionId": "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3", "principalId": "YOUR-OBJECT-ID", '
            '"directoryScopeId": "/"}\''
        )
    return ""


GOOGLE_ROLES = {
    "iam.workloadIdentityPool": "roles/iam.workloadIdentityPoolAdmin",
    "iam.serviceAccounts": "roles/iam.serviceAccountAdmin",
    "serviceusage.": "roles/serviceusage.serviceUsageAdmin",
    "orgpolicy.": "roles/orgpolicy.policyViewer",
    "resourcemanager.": "roles/browser",
    "run.": "roles/run.viewer",
}
"""The predefined role that holds permissions which begin so."""


def _google_fix(status: int, said: str) -> str:
    if status == 401:
        return GOOGLE_LOGIN
    if status != 403:
        return ""
    if "has not been used in project" in said or "SERVICE_DISABLED" in said:
        return "run the command without --check: it enables the API"
    role = next((role for begin, role in GOOGLE_ROLES.items() if begin in said), "roles/iam.workloadIdentityPoolAdmin")
    return f"gcloud projects add-iam-policy-binding PROJECT --member user:YOU --role {role}"
