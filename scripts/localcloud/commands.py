"""`fiso local …`: the local cloud on the command line."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from fiso_cli.errors import CommandError
from fiso_cli.options import YesOption
from fiso_cli.rendering import Document, Output, Table, figure, plain, remark, text
from localcloud import banner, cloud, faults, logs
from localcloud.layout import LocalCloud
from localcloud.parts import Options, parts

PARENT = "cloud"
"""The log of the process that starts the others."""
NOT_HEALTHY = 3
"""The exit code of a status that is not healthy all over, as service managers have it."""

Provider = Annotated[str, typer.Argument(help="aws, azure or gcp.")]


def up(
    no_distance: Annotated[
        bool, typer.Option("--no-distance", help="Leave out the emulated distances and cold starts.")
    ] = False,
    issuer: Annotated[
        bool, typer.Option("--issuer", help="Start the development issuer of tokens as well, for FISO_AUTH=jwt.")
    ] = False,
    deploy: Annotated[
        bool, typer.Option("--deploy", help="Deploy the stage `local` on it, too: a router without functions yet.")
    ] = False,
) -> Output:
    """Bring the local cloud up and return; it runs on until `fiso local down`.

    With --deploy it has a stage as well, for functions of your own.

    \b
    fiso local up --no-distance
    fiso local up --deploy
    """
    began = time.monotonic()
    here, options = LocalCloud.from_environ(), Options(has_distance=not no_distance, has_issuer=issuer)
    was_up = cloud.is_up_with(here, options)
    if not was_up:
        cloud.start(here, options).release()
    api_url = _deployed(options) if deploy else None
    deployed = [f"stage local: {api_url}", "next: fiso deploy everywhere FOLDER --stage local"] if api_url else []
    found = _documents(here)
    what = "everything was up already" if was_up else f"{len(found)} components started"
    line = f"{what} in {time.monotonic() - began:.1f} s; logs in {here.log_dir}"
    document = {"components": found, "api_url": api_url} if api_url else {"components": found}
    return Output(document=document, shown=[_table(found), line, *banner.lines(here), *deployed])


def _deployed(options: Options) -> str:
    """The stage's address, whether it was there already or not; its catalog stays what it was."""
    from localcloud.demo.machine import Machine

    machine = Machine.from_environ(None, options)
    for doing, act in (("the packaged model", machine.train), ("the stage", machine.deploy)):
        remark(f"{doing} ...")
        remark(act())
    return machine.stage.api_url


def down() -> Output:
    """Stop the local cloud. Tables and policies are kept for the next `fiso local up`.

    \b
    fiso local down
    """
    killed = cloud.stop(LocalCloud.from_environ())
    if killed:
        remark(f"had to be killed, so what they had not written is lost: {', '.join(killed)}")
    return Output(document={"up": False, "killed": [*killed]}, shown=["the local cloud is down"])


def status() -> Output:
    """Show every component. Exits with 3 unless all are healthy.

    \b
    fiso local status --json
    """
    found = _documents(LocalCloud.from_environ())
    is_well = all(line["health"] == "healthy" for line in found)
    return Output(document={"components": found}, shown=[_table(found)], exit_code=0 if is_well else NOT_HEALTHY)


def show_logs(
    component: Annotated[str, typer.Argument(help="One component of `fiso local status`; all otherwise.")] = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of each log's last lines.")] = 20,
) -> Iterator[Output]:
    """Show what the components logged.

    \b
    fiso local logs -f lambda-host
    """
    here = LocalCloud.from_environ()
    names = [*(part.name for part in parts(here, Options(has_issuer=True))), PARENT]
    if component and component not in names:
        raise CommandError(f"there is no component {component!r}: choose from {', '.join(names)}")
    wanted = [component] if component else names
    for line in logs.lines(here.log_dir, wanted, last=lines, follow=follow):
        yield Output(document={"line": line}, shown=[line])


def reset(
    yes: YesOption = False,
) -> Output:
    """Stop the local cloud and delete all it holds: tables, bucket, policies, logs.

    \b
    fiso local reset --yes
    """
    here = LocalCloud.from_environ()
    if not yes:
        if not typer.get_text_stream("stdin").isatty():
            raise CommandError("reset deletes everything in the local cloud: say `fiso local reset --yes`")
        typer.confirm(f"Delete everything that the local cloud holds in {here.state}?", abort=True)
    cloud.reset(here)
    return Output(document={"up": False, "empty": True}, shown=["the local cloud is down and empty"])


def kill(provider: Provider) -> Output:
    """Make a provider's functions unreachable; the platform goes on.

    \b
    fiso local kill aws
    """
    faults.kill(LocalCloud.from_environ(), provider)
    line = f"{provider} is down; `fiso local heal {provider}` brings it back"
    return Output(document={"provider": provider, "fault": "down"}, shown=[line])


def heal(provider: Provider) -> Output:
    """End what `kill` or `slow` did to a provider.

    \b
    fiso local heal aws
    """
    faults.heal(LocalCloud.from_environ(), provider)
    return Output(document={"provider": provider, "fault": None}, shown=[f"{provider} is well"])


def slow(
    provider: Provider, factor: Annotated[float, typer.Argument(help="How many times slower, as in 3.")]
) -> Output:
    """Make a provider's functions answer slower.

    \b
    fiso local slow azure 5
    """
    faults.slow(LocalCloud.from_environ(), provider, factor)
    line = f"{provider} takes {factor:g} times as long; `fiso local heal {provider}` ends it"
    return Output(document={"provider": provider, "fault": "slow", "factor": factor}, shown=[line])


def _documents(here: LocalCloud) -> list[Document]:
    return [
        {
            "component": line.name,
            "pid": line.pid,
            "port": line.port,
            "since": line.since.isoformat(timespec="seconds") if line.since else None,
            "health": str(line.health),
        }
        for line in cloud.status(here)
    ]


def _table(found: Sequence[Document]) -> Table:
    columns = [
        text("component"),
        figure("pid", form=plain),
        figure("port", form=plain),
        text("up since", _since),
        text("health"),
    ]
    return Table(columns=columns, rows=found, style=lambda line: "" if line["health"] == "healthy" else "red")


def _since(line: Document) -> str:
    if line["since"] is None:
        return "-"
    since = datetime.fromisoformat(str(line["since"]))
    minutes, seconds = divmod(int((datetime.now(UTC) - since).total_seconds()), 60)
    return f"{since.astimezone():%H:%M:%S} ({minutes} min {seconds} s)"
