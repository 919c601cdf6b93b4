"""The run: checks beside each other, each within its time. What a check needs decides whether it is made at all."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum

from botocore.exceptions import BotoCoreError, ClientError

from fiso_cli.clouds.trust.rest import NotSignedIn
from fiso_cli.doctor.finding import Finding, Verdict, skipped, unknown, wrong
from fiso_cli.doctor.site import Site, code_of
from fiso_cli.errors import CommandError
from fiso_client.core.failures import FisoError

WITHIN_S = 20.0
"""For each check: a service that stands still is found out, and the others are told."""
_REFUSED = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation", "403"})


class Needs(IntEnum):
    """What a check cannot do without."""

    NOTHING = 0
    ACCOUNT = 1
    STACK = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`look` says what is so; whatever it raises is a finding, too. `on_local`: the local stage has it. `cloud`: whose
    it is, and needs somebody who is known there unless it finds out who that is."""

    name: str
    look: Callable[[Site], Iterable[Finding]]
    needs: Needs = Needs.STACK
    on_local: bool = True
    cloud: str = "aws"

    @property
    def is_first(self) -> bool:
        """Others need what it finds."""
        return self.name == "stack" or self.name.endswith("identity")


def of_cloud(cloud: str, *parts: tuple[str, Callable[[Site], Iterable[Finding]]]) -> tuple[Check, ...]:
    """The checks of another cloud than AWS."""
    return tuple(Check(name=f"{cloud}-{name}", look=look, needs=Needs.NOTHING, cloud=cloud) for name, look in parts)


def examine(site: Site, checks: Iterable[Check], *, within_s: float = WITHIN_S) -> Iterator[Finding]:
    """The findings of each check as it ends. Checks that others need come first, one after the other."""
    waiting = list(checks)
    for check in [each for each in waiting if each.is_first]:
        waiting.remove(check)
        yield from _all_of(site, [check], within_s)
    yield from _all_of(site, waiting, within_s)


def _all_of(site: Site, checks: list[Check], within_s: float) -> Iterator[Finding]:
    answers: queue.SimpleQueue[tuple[Check, list[Finding]]] = queue.SimpleQueue()
    pending: dict[str, Check] = {}
    for check in checks:
        if reason := _why_not(site, check):
            yield replace(skipped(reason), check=check.name)
            continue
        pending[check.name] = check
        # A thread of its own that nothing waits for: what hangs must not hold up the command's end.
        threading.Thread(target=lambda each=check: answers.put((each, _looked(site, each))), daemon=True).start()
    ends_at = time.monotonic() + within_s
    while pending:
        try:
            check, found = answers.get(timeout=max(0.0, ends_at - time.monotonic()))
        except queue.Empty:
            for name in pending:
                yield replace(_silent(name, within_s), check=name)
            return
        del pending[check.name]
        yield from found


def _silent(name: str, within_s: float) -> Finding:
    """Without who asks nothing is looked at, so that is no remark beside others."""
    if name.endswith("identity"):
        cloud = {"azure-identity": "Azure", "gcp-identity": "Google"}.get(name, "AWS")
        said = f"{cloud} does not say who you are within {within_s:g} s"
        return wrong(said, why="nothing can be looked at", fix="check the network and proxies")
    return unknown(f"no answer within {within_s:g} s")


def _why_not(site: Site, check: Check) -> str:
    if site.stage.is_local and not check.on_local:
        return "not on the local stage"
    if check.cloud != "aws":
        return _why_not_there(site, check)
    if check.needs >= Needs.ACCOUNT and site.caller is None:
        return "not without an AWS account"
    return "not without a stack" if check.needs >= Needs.STACK and site.stack is None else ""


def _why_not_there(site: Site, check: Check) -> str:
    if check.cloud not in site.clouds:
        return f"the catalog names no copy on {check.cloud}"
    is_known = check.cloud in site.elsewhere or check.is_first or check.name.endswith("-reach")
    return "" if is_known else f"not without a login on {check.cloud}"


def _looked(site: Site, check: Check) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check.look(site))
    except NotSignedIn as error:
        said, _, fix = str(error).partition(": ")
        found.append(wrong(said, why=f"nothing of {check.cloud} can be looked at", fix=fix))
    except ClientError as error:
        found.append(_refused(error))
    except (BotoCoreError, CommandError, FisoError, OSError, ValueError, KeyError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        found.append(unknown(f"could not be looked at: {line}"))
    return [replace(each, check=check.name) for each in found]


def _refused(error: ClientError) -> Finding:
    operation = error.operation_name
    if code_of(error) in _REFUSED:
        return unknown(
            f"you may not ask for it ({operation})", fix="attach scripts/serverless/deployer-policy.json to who asks"
        )
    return unknown(f"could not be looked at: {operation}: {error.response['Error'].get('Message') or code_of(error)}")


def is_bad(found: Iterable[Finding]) -> bool:
    return any(each.verdict is Verdict.WRONG for each in found)
