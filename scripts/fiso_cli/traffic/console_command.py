"""`fiso console`: a stage's console in a browser, which cannot sign, by way of this machine, which can."""

from collections.abc import Iterator
from typing import Annotated

import typer

from fiso_cli.options import StageOption, UrlOption
from fiso_cli.rendering import Output


def console(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="On this port; 0: any that is free.")] = 0,
    is_opened: Annotated[bool, typer.Option("--open", help="Open a browser there.")] = False,
    stage: StageOption = "local",
    api_url: UrlOption = "",
) -> Iterator[Output]:
    """Show a stage's console in a browser, until Ctrl-C.

    What the browser asks 127.0.0.1 for goes to the stage signed with your own AWS credentials (or with FISO_TOKEN). The
    address that is printed lets one browser in, once. --api-url names the API where it has a domain of its own, since
    the console answers to no other.

    \b
    fiso console --stage prod --open
    """
    from fiso_cli.traffic.console_door import serving
    from fiso_cli.traffic.gateway import gateway_of

    with serving(gateway_of(stage, api_url, to_console=True), port) as door:
        said = f"The console of stage {stage}, for one browser, until Ctrl-C:\n{door.entry}"
        yield Output(document={"stage": stage, "url": door.entry}, shown=[said])
        if is_opened:
            door.open_browser()
        door.wait()
