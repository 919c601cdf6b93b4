"""Copies: a function's endpoints, each called alone: through FISO, by a wish that leaves out its siblings
(`x-fiso-exclude`), so with FISO's own credentials and as traffic reaches it."""

from collections.abc import Sequence
from dataclasses import dataclass

from fiso_cli.errors import CommandError
from fiso_cli.traffic.calls import Call
from fiso_cli.traffic.cases import Case
from fiso_cli.traffic.documents import rows_of
from fiso_cli.traffic.gateway import Gateway

MAY_REPEAT = "yes"
"""Of `idempotent`, what lets any request run again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """A function's endpoints, in the catalog's order, and how they may be called."""

    function: str
    ids: Sequence[str]
    repeats: str

    @classmethod
    def of(cls, gateway: Gateway, function: str) -> "Copies":
        """As the stage's catalog has them. `CommandError` for an unknown function."""
        rows = rows_of(gateway.get("v1", "endpoints"), "endpoints")
        own = [row for row in rows if row.get("function") == function]
        if not own:
            known = ", ".join(sorted({str(row.get("function")) for row in rows}))
            raise CommandError(f"no function {function!r} in the catalog; there are {known or 'none'}")
        ids = [str(row.get("endpoint")) for row in own]
        return cls(function=function, ids=ids, repeats=str(own[0].get("idempotent", "no")))

    def call(self, copy: str, case: Case) -> Call:
        """A case for this copy and nobody else."""
        others = ", ".join(id for id in self.ids if id != copy)
        return Call(
            function=self.function,
            body=case.body,
            content_type="",  # one of the case's headers
            method=case.method,
            path=case.target,
            headers={**case.headers, **({"x-fiso-exclude": others} if others else {})},
        )


def another_answered(copy: str, who: str) -> CommandError:
    """A stage that heeds no wish."""
    return CommandError(
        f"{copy} was asked and {who} answered: this stage takes no wish to exclude the others (x-fiso-exclude)"
    )
