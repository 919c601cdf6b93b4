"""Findings: what a check says of one thing."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """`unknown`: it could not be looked at; `skipped`: it was not, because of another finding."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is so, why that matters, and the command or setting that mends it. `check` is the runner's to say."""

    verdict: Verdict
    what: str
    why: str = ""
    fix: str = ""
    check: str = ""


def ok(what: str) -> Finding:
    return Finding(verdict=Verdict.OK, what=what)


def warning(what: str, *, why: str, fix: str) -> Finding:
    """Worth knowing; the stage serves all the same."""
    return Finding(verdict=Verdict.WARNING, what=what, why=why, fix=fix)


def wrong(what: str, *, why: str, fix: str) -> Finding:
    return Finding(verdict=Verdict.WRONG, what=what, why=why, fix=fix)


def unknown(what: str, *, fix: str = "") -> Finding:
    return Finding(verdict=Verdict.UNKNOWN, what=what, fix=fix)


def skipped(what: str) -> Finding:
    return Finding(verdict=Verdict.SKIPPED, what=what)
