"""Azure Resource Manager over the vendor's own pipeline (azure-mgmt-core): retries and tokens are its, the long-running
operations are followed here, because a deployer must be able to stop waiting and say what it waited for.

    arm = Arm.of(Setting.from_environ("prod"))
    arm.call("GET", f"{group}/providers/Microsoft.Web/sites/x", "2024-11-01")

Every refusal leaves as `CommandError`: one line, and the command that grants what is missing.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from fiso_cli.clouds.azure.refusals import NEEDS_EXTRA, refusal
from fiso_cli.errors import CommandError

PUBLIC = "https://management.azure.com"
WAIT_S = 1200.0
BUSY = ("DeploymentActive", "AnotherOperationInProgress", "exclusive lock", "in progress", "has web app(s) assigned")
"""Somebody, or an earlier run of ours, is still at it: codes and words, inside a failed deployment as well."""

Document = dict[str, Any]


class Absent(CommandError):
    """404: not there (any more)."""


class Busy(CommandError):
    """Another operation is under way there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: the status, the headers in lower case, the JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One subscription. `pace` scales every pause; `wait_s` is the most that one operation may take."""

    client: Any
    subscription: str
    endpoint: str = PUBLIC
    pace: float = 1.0
    wait_s: float = WAIT_S
    clock: Callable[[], float] = time.monotonic
    _options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scope(self) -> str:
        """The subscription's id, with which every resource's begins."""
        return f"/subscriptions/{self.subscription}"

    def call(self, method: str, path: str, version: str, body: Any = None, **headers: str) -> Document:
        """One call and whatever operation it begins; the resource, or `{}`. Raises `Absent`, `Busy`, `CommandError`."""
        answer = self.send(method, f"{path}{'&' if '?' in path else '?'}api-version={version}", body, headers)
        return self._followed(answer, f"{method} {path}")

    def find(self, path: str, version: str) -> Document | None:
        """The resource, or None."""
        try:
            return self.call("GET", path, version)
        except Absent:
            return None

    def listed(self, path: str, version: str) -> Iterator[Document]:
        """A list through all its pages."""
        page = self.call("GET", path, version)
        while True:
            yield from page.get("value", [])
            if not (following := page.get("nextLink")):
                return
            page = self.send("GET", self._own(following)).body

    def send(self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request as it is, to a path of the manager's or a whole address. Raises as `call` does."""
        from azure.core.exceptions import AzureError, ClientAuthenticationError
        from azure.core.rest import HttpRequest

        content = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
        address = url if urlsplit(url).scheme else self.endpoint + quote(url, safe="/?=&$%.~:()',")
        request = HttpRequest(method, address, headers=dict(headers or {}), **content)
        try:
            response = self.client.send_request(request, **self._options)
        except ClientAuthenticationError as error:
            raise CommandError(f"nobody is logged in: az login ({_first_line(error)})") from error
        except AzureError as error:
            raise CommandError(f"{urlsplit(url).netloc or self.endpoint}: {_first_line(error)}") from error
        answer = Answer(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=_json(response),
        )
        if answer.status >= 400:
            raise _error(answer, f"{method} {url.partition('?')[0]}")
        return answer

    def _followed(self, answer: Answer, what: str) -> Document:
        """Azure-AsyncOperation tells a status, Location the result itself; without either the body is the result."""
        status_url, result_url = answer.headers.get("azure-asyncoperation"), answer.headers.get("location")
        if status_url:
            self._until(status_url, what, lambda each: str(each.body.get("status", "")).lower() not in _RUNNING)
            return {} if answer.status == 202 or answer.body is None else dict(answer.body)
        if answer.status == 202 and result_url:
            found = self._until(result_url, what, lambda each: each.status != 202)
            return dict(found.body or {})
        return dict(answer.body or {})

    def _until(self, url: str, what: str, is_over: Callable[[Answer], bool]) -> Answer:
        deadline = self.clock() + self.wait_s
        while True:
            answer = self.send("GET", self._own(url))
            if is_over(answer):
                _refuse_failed(answer, what)
                return answer
            if self.clock() >= deadline:
                raise CommandError(f"{what}: Azure is still at it after {self.wait_s:.0f} s: run it again later")
            time.sleep(float(answer.headers.get("retry-after", 5)) * self.pace)

    def waited(self, seconds: float) -> None:
        """A pause between two looks."""
        time.sleep(seconds * self.pace)

    def _own(self, url: str) -> str:
        """A link of the manager's; the token goes nowhere else."""
        if urlsplit(url)[:2] != urlsplit(self.endpoint)[:2]:
            raise CommandError(f"Azure named another host to go on at ({urlsplit(url).netloc}): not followed")
        return url


_RUNNING = frozenset({"", "running", "accepted", "inprogress", "creating", "updating", "deleting", "pending"})


def connect(
    *, subscription: str, endpoint: str = PUBLIC, credential: Any = None, pace: float = 1.0, wait_s: float = WAIT_S
) -> Arm:
    """A client for the subscription; without a credential whoever `az login`, a workload identity or the environment
    say. `CommandError` where the extra is not installed."""
    try:
        from azure.core.pipeline.policies import RequestIdPolicy, RetryPolicy, UserAgentPolicy
        from azure.mgmt.core import ARMPipelineClient
        from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

        if credential is None:
            from azure.identity import DefaultAzureCredential

            credential = DefaultAzureCredential(exclude_interactive_browser_credential=True)
    except ModuleNotFoundError as error:
        raise CommandError(NEEDS_EXTRA) from error
    client: Any = ARMPipelineClient(
        base_url=endpoint,
        policies=[
            RequestIdPolicy(),
            UserAgentPolicy("fiso"),
            RetryPolicy(retry_total=8, retry_backoff_factor=0.8 * pace, retry_backoff_max=60),
            ARMChallengeAuthenticationPolicy(credential, f"{PUBLIC}/.default"),
        ],
    )
    options: dict[str, Any] = {"retry_on_methods": frozenset({"HEAD", "GET", "PUT", "DELETE", "PATCH"})}
    options |= {"connection_timeout": 10, "read_timeout": 120}
    options |= {} if endpoint.startswith("https://") else {"enforce_https": False}
    return Arm(client=client, subscription=subscription, endpoint=endpoint, pace=pace, wait_s=wait_s, _options=options)


def _refuse_failed(answer: Answer, what: str) -> None:
    body = answer.body if isinstance(answer.body, Mapping) else {}
    if str(body.get("status", "")).lower() in {"failed", "canceled"}:
        raise _error(Answer(status=400, headers={}, body={"error": body.get("error") or {}}), what)


def _error(answer: Answer, what: str) -> CommandError:
    body = answer.body if isinstance(answer.body, Mapping) else {}
    said = body.get("error") if isinstance(body.get("error"), Mapping) else body
    line = refusal(answer.status, said or {}, what)
    if answer.status == 404:
        return Absent(line)
    if answer.status in {400, 409, 429} and any(word in line for word in BUSY):
        return Busy(line)
    return CommandError(line)


def _json(response: Any) -> Any:
    try:
        return response.json() if response.content else None
    except ValueError:
        return response.text()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
