"""`fiso tail`: finished invocations as they come, each with its why."""

import time
from collections.abc import Sequence
from typing import Annotated

import typer

from fiso.codecs.record import to_document
from fiso.domain.record import InvocationRecord
from fiso_cli.traffic import terminal
from fiso_cli.traffic.following import PAGE, Follower
from fiso_cli.traffic.lines import HEADER, line_of
from fiso_cli.traffic.stage_access import JsonOption, StageOption, UrlOption, gateway_of

INTERVAL_S = 1.0

app = typer.Typer()


@app.command()
def tail(
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    function: Annotated[str, typer.Option(help="Only this function.")] = "",
    count: Annotated[int, typer.Option("-n", "--lines", min=0, max=PAGE, help="How many past ones to show.")] = 20,
    stage: StageOption = "local",
    api_url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show the latest invocations and why each went where it went; -f goes on live.

    \b
    fiso tail -f
    fiso tail --function compress -n 50
    fiso tail -f --json | jq .endpoint
    """
    follower = Follower(gateway_of(stage, api_url), function or None)
    try:
        _show(follower.latest(count), as_json=as_json, with_header=True)
        while follow:
            time.sleep(INTERVAL_S)
            _show(follower.poll(), as_json=as_json)
            if follower.may_have_skipped:
                terminal.err().print(f"more than {PAGE} came at once: some are not shown", style="yellow")
    except KeyboardInterrupt:
        return


def _show(records: Sequence[InvocationRecord], *, as_json: bool, with_header: bool = False) -> None:
    if as_json:
        for record in records:
            terminal.write_json(to_document(record), indent=None)
        return
    console = terminal.out()
    if with_header:
        console.print(HEADER, style="bold", soft_wrap=True, markup=False)
    for record in records:
        style = "red" if record.result.error_occurred else ""
        console.print(line_of(record), style=style, soft_wrap=True, markup=False)
