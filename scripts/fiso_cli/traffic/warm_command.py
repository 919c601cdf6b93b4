"""`fiso endpoint warm`: options in, what each copy of a function did with the user's own input out."""

from typing import Annotated

import typer

from fiso_cli.errors import BadInput
from fiso_cli.options import CasesOption, FunctionArgument, StageOption, UrlOption
from fiso_cli.rendering import Output

MOST_CALLS = 100
"""Of each copy: the router has gone by the last fifteen or so long before."""


def warm(
    function: FunctionArgument,
    *,
    data: CasesOption = "",
    count: Annotated[int, typer.Option("-n", "--calls", min=1, max=MOST_CALLS, help="Calls to each copy.")] = 5,
    may_be_repeated: Annotated[
        bool, typer.Option("--yes-it-may-be-repeated", help="Where the policy does not say so: no harm is done.")
    ] = False,
    stage: StageOption = "local",
    api_url: UrlOption = "",
) -> Output:
    """Call each copy of a function with your own input, so that routing starts from real answers.

    The copies are called at the same time, each one call after the other, through FISO: the calls are recorded, learned
    from and paid for like any other. Only a function whose policy says `idempotent: yes` is called, unless you say that
    it may be repeated. In a folder every file is a case, and they take turns; `fiso compare` reads the same ones.
    Exits 1 when a copy never answered.

    \b
    fiso endpoint warm compress --data @photo.raw -n 5
    fiso endpoint warm orders --data @cases/ -n 20 --stage prod --json
    """
    from fiso_cli.traffic import cases
    from fiso_cli.traffic.copies import MAY_REPEAT, Copies
    from fiso_cli.traffic.gateway import gateway_of
    from fiso_cli.traffic.warm import Warming, output

    found = cases.read(data)
    if any("idempotency-key" in case.headers for case in found):
        raise BadInput("a case names an idempotency-key, by which it would run once only: leave it out")
    gateway = gateway_of(stage, api_url)
    copies = Copies.of(gateway, function)
    if copies.repeats != MAY_REPEAT and not may_be_repeated:
        raise BadInput(
            f"{function} is declared idempotent: {copies.repeats}, and would run {count * len(copies.ids)} times: "
            "pass --yes-it-may-be-repeated if that does no harm"
        )
    return output(Warming(gateway=gateway, copies=copies, cases=found, count=count))
