"""`fiso local …`: the local cloud on the command line."""

import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

import typer

from fiso_cli.errors import CommandError, CommandGroup
from localcloud import cloud, faults, logs
from localcloud.cloud import Health, PartStatus
from localcloud.layout import LocalCloud
from localcloud.parts import Options, parts

PARENT = "cloud"
"""The log of the process that starts the others."""
NOT_HEALTHY = 3
"""The exit code of a status that is not healthy all over, as service managers have it."""

local_app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    help="The local cloud on this machine: loopback only, without Docker or accounts. FISO_LOCAL_DIR names its folder "
    "(.local in the checkout otherwise), FISO_LOCAL_PORT its first port (4566 otherwise).",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Provider = Annotated[str, typer.Argument(help="aws, azure or gcp.")]


@local_app.command()
def up(
    no_distance: Annotated[
        bool, typer.Option("--no-distance", help="Leave out the emulated distances and cold starts.")
    ] = False,
    issuer: Annotated[
        bool, typer.Option("--issuer", help="Start the development issuer of tokens as well, for FISO_AUTH=jwt.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the local cloud up and return; it runs on until `fiso local down`.

    Example: fiso local up --no-distance
    """
    began = time.monotonic()
    here, options = LocalCloud.from_environ(), Options(has_distance=not no_distance, has_issuer=issuer)
    was_up = cloud.is_up_with(here, options)
    if not was_up:
        cloud.start(here, options).release()
    found = cloud.status(here)
    _show(found, as_json=as_json)
    if not as_json:
        what = "everything was up already" if was_up else f"{len(found)} components started"
        typer.echo(f"{what} in {time.monotonic() - began:.1f} s; logs in {here.log_dir}")


@local_app.command()
def down() -> None:
    """Stop the local cloud. Tables and policies are kept for the next `fiso local up`.

    Example: fiso local down
    """
    killed = cloud.stop(LocalCloud.from_environ())
    if killed:
        typer.echo(f"had to be killed, so what they had not written is lost: {', '.join(killed)}", err=True)
    typer.echo("the local cloud is down")


@local_app.command()
def status(as_json: AsJson = False) -> None:
    """Show every component. Exits with 3 unless all are healthy.

    Example: fiso local status --json
    """
    found = cloud.status(LocalCloud.from_environ())
    _show(found, as_json=as_json)
    if any(line.health is not Health.HEALTHY for line in found):
        raise typer.Exit(NOT_HEALTHY)


@local_app.command(name="logs")
def show_logs(
    component: Annotated[str, typer.Argument(help="One component of `fiso local status`; all otherwise.")] = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of each log's last lines.")] = 20,
) -> None:
    """Show what the components logged.

    Example: fiso local logs -f lambda-host
    """
    here = LocalCloud.from_environ()
    names = [*(part.name for part in parts(here, Options(has_issuer=True))), PARENT]
    if component and component not in names:
        raise CommandError(f"there is no component {component!r}: choose from {', '.join(names)}")
    wanted = [component] if component else names
    for line in logs.lines(here.log_dir, wanted, last=lines, follow=follow):
        typer.echo(line)


@local_app.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop the local cloud and delete all it holds: tables, bucket, policies, logs.

    Example: fiso local reset --yes
    """
    here = LocalCloud.from_environ()
    if not yes:
        if not typer.get_text_stream("stdin").isatty():
            raise CommandError("reset deletes everything in the local cloud: say `fiso local reset --yes`")
        typer.confirm(f"Delete everything that the local cloud holds in {here.state}?", abort=True)
    cloud.reset(here)
    typer.echo("the local cloud is down and empty")


@local_app.command()
def kill(provider: Provider) -> None:
    """Make a provider's functions unreachable; the platform goes on.

    Example: fiso local kill aws
    """
    faults.kill(LocalCloud.from_environ(), provider)
    typer.echo(f"{provider} is down; `fiso local heal {provider}` brings it back")


@local_app.command()
def heal(provider: Provider) -> None:
    """End what `kill` or `slow` did to a provider.

    Example: fiso local heal aws
    """
    faults.heal(LocalCloud.from_environ(), provider)
    typer.echo(f"{provider} is well")


@local_app.command()
def slow(provider: Provider, factor: Annotated[float, typer.Argument(help="How many times slower, as in 3.")]) -> None:
    """Make a provider's functions answer slower.

    Example: fiso local slow azure 5
    """
    faults.slow(LocalCloud.from_environ(), provider, factor)
    typer.echo(f"{provider} takes {factor:g} times as long; `fiso local heal {provider}` ends it")


def _show(found: Iterable[PartStatus], *, as_json: bool) -> None:
    if as_json:
        documents = [
            {
                "component": line.name,
                "pid": line.pid,
                "port": line.port,
                "since": line.since.isoformat(timespec="seconds") if line.since else None,
                "health": str(line.health),
            }
            for line in found
        ]
        typer.echo(json.dumps({"components": documents}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("component", "pid", "port", "up since", "health", box=None, pad_edge=False)
    for line in found:
        colour = "green" if line.health is Health.HEALTHY else "red"
        table.add_row(
            line.name, str(line.pid or "-"), str(line.port), _since(line.since), f"[{colour}]{line.health}[/]"
        )
    Console().print(table)


def _since(since: datetime | None) -> str:
    if since is None:
        return "-"
    minutes, seconds = divmod(int((datetime.now(UTC) - since).total_seconds()), 60)
    return f"{since.astimezone():%H:%M:%S} ({minutes} min {seconds} s)"
