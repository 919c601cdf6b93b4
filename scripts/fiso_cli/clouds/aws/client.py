"""Client: boto3 behind two calls, `call` and `find`, for whatever region. Everything that AWS refuses leaves as one
line that says the way out. botocore retries what is throttled, away or cut off."""

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from fiso_cli.errors import CommandError

if TYPE_CHECKING:
    import boto3

Document: TypeAlias = dict[str, Any]

TRIES, CONNECT_S, READ_S = 6, 5, 60
WAIT_S = 600.0
MISSING = frozenset(
    {
        "ResourceNotFoundException",
        "NoSuchEntity",
        "NoSuchEntityException",
        "DBInstanceNotFound",
        "DBInstanceNotFoundFault",
    }
)
MEANWHILE = frozenset({"ConcurrentModification", "ConcurrentModificationException", "OperationAbortedException"})
"""Somebody else changed the same thing at the same moment."""
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_LOGIN = frozenset(
    {"UnrecognizedClientException", "InvalidClientTokenId", "ExpiredToken", "ExpiredTokenException", "AuthFailure"}
)
_REFUSED = re.compile(r"User: (\S+) is not authorized to perform: ([\w-]+:\w+)")
_PRINCIPAL = re.compile(r":(?:assumed-(role)/([^/]+)/.*|(user)/(?:.*/)?([^/]+))$")
POLICIES = {"rds": "database", "secretsmanager": "database"}
"""Which of scripts/serverless/*-policy.json grants what, where it is not the deployer's."""


class Refused(CommandError):
    """What AWS refused; `code` is its own name of it."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


@dataclass(kw_only=True)
class Aws:
    """One account, by one session. `endpoint` stands for all of AWS; `wait_s` is the most that one thing may take.
    `known` are all regions that there are; the account is asked where it is empty."""

    session: "boto3.Session"
    home: str
    endpoint: str | None = None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    wait_s: float = WAIT_S
    known: Sequence[str] = ()
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict)
    _making: threading.Lock = field(default_factory=threading.Lock)

    def client(self, service: str, region: str | None = None) -> Any:
        """boto3's, of the home region unless another is named; each is made once."""
        from botocore.config import Config

        key = (service, region or self.home)
        patience = Config(
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            retries={"mode": "standard", "total_max_attempts": TRIES},
        )
        with self._making:  # a session makes one client at a time
            if key not in self._clients:
                with refusals(service):
                    self._clients[key] = self.session.client(
                        service, region_name=key[1], endpoint_url=self.endpoint, config=patience
                    )
            return self._clients[key]

    def call(self, service: str, operation: str, *, region: str | None = None, **given: Any) -> Document:
        """The answer of an operation. `Refused` in one line."""
        client = self.client(service, region)
        for _ in range(TRIES - 1):
            try:
                return self._asked(client, service, operation, given)
            except Refused as refused:
                if refused.code not in MEANWHILE:
                    raise
            self.sleep(1.0)
        return self._asked(client, service, operation, given)

    def _asked(self, client: Any, service: str, operation: str, given: Document) -> Document:
        with refusals(service):
            answer: Document = getattr(client, operation)(**given)
        return answer

    def find(self, service: str, operation: str, *, region: str | None = None, **given: Any) -> Document | None:
        """The answer of an operation; None for what is not there."""
        try:
            return self.call(service, operation, region=region, **given)
        except Refused as refused:
            if refused.code in MISSING:
                return None
            raise

    def pages(
        self, service: str, operation: str, key: str, *, region: str | None = None, **given: Any
    ) -> Iterator[Document]:
        """All things of a list, page by page."""
        client = self.client(service, region)
        with refusals(service):
            for page in client.get_paginator(operation).paginate(**given):
                yield from page.get(key, [])

    def until(self, is_done: Callable[[], bool], what: str, say: Callable[[str], None]) -> None:
        """Wait for what takes long. `Refused` where it hangs."""
        began, pause, told = self.clock(), 0.25, 0.0
        while not is_done():
            spent = self.clock() - began
            if spent > self.wait_s:
                raise Refused(f"{what}: AWS is still at it after {spent:.0f} s: run it again later")
            if spent - told >= 15:
                told = spent
                say(f"  {what}: {spent:.0f} s …")
            self.sleep(pause)
            pause = min(pause * 1.5, 10.0)

    def regions(self) -> list[str]:
        """All that the account has switched on."""
        return [*self.known] or [str(each["RegionName"]) for each in self.call("ec2", "describe_regions")["Regions"]]

    def close(self) -> None:
        """End the connections."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()


@contextmanager
def refusals(service: str) -> Iterator[None]:
    """Turn what boto3 raises into one line: the missing permission with the command that grants it, or the way in."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except ClientError as error:
        raise _refused(service, error) from error
    except NoCredentialsError as error:
        raise Refused(
            "nobody is signed in to AWS here: aws configure sso, or AWS_PROFILE; this machine's own is --stage local",
            "NoCredentials",
        ) from error
    except BotoCoreError as error:
        raise Refused(f"AWS: {_one_line(error)}", type(error).__name__) from error


def _refused(service: str, error: Any) -> Refused:
    code, message = str(error.response["Error"]["Code"]), _one_line(error.response["Error"].get("Message", ""))
    if code in _DENIED:
        return Refused(_grant(message, f"{service}:{error.operation_name}"), code)
    if code in _LOGIN:
        return Refused(f"AWS does not know who asks ({code}): aws sts get-caller-identity", code)
    return Refused(f"{service}:{error.operation_name}: {code}: {message}", code)


def _grant(message: str, asked: str) -> str:
    said = _REFUSED.search(message)
    who = _PRINCIPAL.search(said[1]) if said else None
    kind, name = [each for each in who.groups() if each] if who else ["role", "YOURS"]
    permission = said[2] if said else asked
    policy = POLICIES.get(permission.partition(":")[0], "deployer")
    return (
        f"the permission {permission} is missing: aws iam put-{kind}-policy --{kind}-name {name} "
        f"--policy-name fiso-{policy} --policy-document file://scripts/serverless/{policy}-policy.json"
    )


def _one_line(what: object) -> str:
    return " ".join(str(what).split())[:300]
