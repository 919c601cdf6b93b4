"""`fiso experiment start | status | stop`: a function's routing against always calling home, in switchback blocks.

An experiment is the policy's control share: it lies in the catalog, is signed and published like any policy, and what
was decided under its version is what counts.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from fiso_cli.catalog.commands import WaitOption
from fiso_cli.errors import BadInput
from fiso_cli.options import FunctionArgument, LogOption, RecordsOption, SinceOption, StageOption
from fiso_cli.rendering import Output
from fiso_cli.stage import Stage

DEFAULT_SINCE = "7d"

if TYPE_CHECKING:
    from fiso.domain.catalog import CatalogEntry
    from fiso.domain.policy import Policy


def start(
    function: FunctionArgument,
    *,
    share: Annotated[float, typer.Option("--share", min=0.05, max=0.95, help="Of the blocks, called home.")] = 0.5,
    block_s: Annotated[int, typer.Option("--block-s", min=60, help="How long a block is.")] = 1_800,
    stage: StageOption = "local",
    wait: WaitOption = True,
) -> Output:
    """Let a function be routed in some blocks of time, and always called home in the others.

    \b
    fiso experiment start compress --share 0.5 --block-s 1800 --stage prod
    """

    from fiso_cli.catalog.policy_commands import altered

    def alter(entry: "CatalogEntry") -> "Policy":
        if entry.policy.home is None:
            raise BadInput(f"{function} has no home: name the endpoint that stands for life without FISO in its policy")
        return replace(entry.policy, control_share=share, control_block_s=block_s)

    return altered(function, alter, stage, wait=wait)


def stop(function: FunctionArgument, *, stage: StageOption = "local", wait: WaitOption = True) -> Output:
    """Route a function always again; what was measured stays in the archive.

    \b
    fiso experiment stop compress --stage prod
    """
    from fiso_cli.catalog.policy_commands import altered

    return altered(function, lambda entry: replace(entry.policy, control_share=0.0), stage, wait=wait)


def status(
    function: FunctionArgument,
    *,
    since: SinceOption = None,
    stage: StageOption = "local",
    log: LogOption = None,
    most: RecordsOption = 200_000,
    share: Annotated[float | None, typer.Option("--share", min=0.05, max=0.95, help="With --log.")] = None,
    block_s: Annotated[int | None, typer.Option("--block-s", min=60, help="With --log.")] = None,
) -> Output:
    """Per arm what its requests came to, the differences with intervals that hold at every look, and a decision.

    \b
    fiso experiment status compress --stage prod
    fiso experiment status compress --log records.jsonl --share 0.5 --block-s 1800
    """
    from fiso_cli.catalog import change
    from fiso_cli.catalog.policy_commands import loaded
    from fiso_cli.reports import savings, switchback
    from fiso_cli.what_if import records

    now, where, version = datetime.now(UTC), Stage.named(stage), None
    if share is None or block_s is None:
        if log is not None:
            raise BadInput("with --log say what the experiment was: --share and --block-s")
        policy = change.entry_of(loaded(stage), function).policy
        share, block_s, version = policy.control_share, policy.control_block_s, policy.version
    if not share:
        raise BadInput(f"no experiment runs for {function}: `fiso experiment start {function}`")
    with records.logged(where, log, since=since, default=DEFAULT_SINCE, now=now, most=most or None) as logged:
        own = [
            record
            for record in logged.records
            if record.request.function_name == function and version in (None, record.decision.policy_version)
        ]
        hops = savings.of_records(own, block_s=block_s, extent=logged.extent)
    router_usd = next((found.money.router for found in hops if found.money is not None), 0.0)
    found = switchback.compared(own, share=share, block_s=block_s, router_usd=router_usd)
    return Output(
        document=switchback.document(function, found), shown=switchback.parts(function, found), remarks=logged.remarks
    )
