"""`fiso deploy everywhere`: the commands of each cloud in the order in which they need each other, as one."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from fiso_cli.clouds.plan import words_of
from fiso_cli.commands import JsonOption
from fiso_cli.errors import BadInput, CommandError
from fiso_cli.local_stage import AZURE_TENANT
from fiso_cli.options import CATALOG, StageOption, YesOption
from fiso_cli.rendering import Output, remark, save
from fiso_cli.stage import Stage

CLOUDS = ("aws", "azure", "gcp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What all of the commands are told."""

    stage: str
    functions: list[str]
    clouds: tuple[str, ...]
    memory: str
    tenant: str
    subscription: str
    project: str
    file: Path
    is_watched: bool
    destroys: bool
    yes: bool
    as_json: bool

    @property
    def common(self) -> dict[str, Any]:
        return {"file": self.file, **self.sure}

    @property
    def sure(self) -> dict[str, Any]:
        return {"stage": self.stage, "yes": self.yes, "as_json": self.as_json}


def everywhere(  # noqa: PLR0913 - a command's options
    functions: Annotated[
        list[str] | None, typer.Argument(metavar="[FUNCTION|NAME=FOLDER]…", help="Folders, each a function.")
    ] = None,
    *,
    stage: StageOption,
    on: Annotated[str, typer.Option("--on", help="Clouds, by commas.")] = ",".join(CLOUDS),
    memory: Annotated[str, typer.Option("--memory", help="MB of an instance: 512, 2048 or 4096.")] = "512",
    tenant: Annotated[str, typer.Option("--tenant", envvar="AZURE_TENANT_ID", help="The Entra tenant's id.")] = "",
    subscription: Annotated[
        str, typer.Option("--subscription", envvar="AZURE_SUBSCRIPTION_ID", help="Azure's subscription.")
    ] = "",
    project: Annotated[str, typer.Option("--project", envvar="GOOGLE_CLOUD_PROJECT", help="Google's project.")] = "",
    file: Annotated[Path, typer.Option("--file", "-f", help="The catalog file.")] = CATALOG,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Dashboards and alerts there as well.")] = True,
    destroy: Annotated[bool, typer.Option("--destroy", help="Take all of it back, out of the catalog too.")] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> Output:
    """Put functions on several clouds: the copies, the trust between the clouds, what watches them, the catalog.

    It runs the commands that do each of it (`fiso deploy aws-function | azure | gcp | monitoring`, `fiso trust azure |
    gcp`, `fiso apply`), with their plans; where one stops, the same command goes on. Regions, and several sizes: those
    commands.

    \b
    fiso deploy everywhere hello --stage prod
    fiso deploy everywhere --stage prod --destroy
    """
    if not destroy and not functions:
        raise BadInput("name at least one FUNCTION, a folder or NAME=FOLDER")
    clouds = tuple(dict.fromkeys(word.strip() for word in on.split(",") if word.strip()))
    if not clouds or not set(clouds) <= set(CLOUDS):
        raise BadInput(f"--on {on!r}: one or more of {', '.join(CLOUDS)}")
    asked = Asked(
        stage=stage,
        functions=functions or [],
        clouds=clouds,
        memory=memory,
        tenant=AZURE_TENANT if Stage.named(stage).is_local else tenant,
        subscription=subscription,
        project=project,
        file=file,
        is_watched=watch,
        destroys=destroy,
        yes=yes,
        as_json=as_json,
    )
    _begin(asked)
    following = f"fiso doctor --stage {stage}{''.join(f' --cloud {each}' for each in clouds)}"
    return ended(_taken_back(asked) if destroy else _put(asked), file, following)


def ended(parts: Iterable[tuple[str, Output]], file: Path, following: str) -> Output:
    """What the parts came to, in their order. The first that fails is the last: its exit code is the whole's, as of a
    catalog that is stored and not published."""
    done: dict[str, object] = {}
    whole: dict[str, object] = {"done": done, "file": str(file)}
    shown: list[str] = []
    for name, output in parts:
        done[name] = output.document
        shown += [line for line in words_of(output) if not line.startswith("next: ")]
        if output.exit_code:
            again = f"{name} is not done; mend that, then the same command goes on"
            return Output(document=whole, shown=shown, remarks=[*output.remarks, again], exit_code=output.exit_code)
        remark(f"{name}: done")
    return Output(document=whole, shown=[*shown, f"next: {following}"])


def _begin(asked: Asked) -> None:
    """A file that is not there begins with what is in force, so that functions which are there already stay.
    `BadInput`, before anything is made, for a file that would take some of them out of the catalog at the end."""
    from fiso_cli.catalog.commands import export

    if asked.file.exists():
        missing = set() if asked.destroys else _removals(asked)
        if missing:
            what = f"{asked.file} has not {', '.join(sorted(missing))}, which the stage serves"
            raise BadInput(f"{what}: `fiso export` prints them; `fiso apply --allow-removals` takes them out")
        return
    try:
        found = export(stage=asked.stage).shown or ()
    except CommandError:  # it serves none, or `fiso apply` says in the end what its database lacks
        return
    for text in (each for each in found if isinstance(each, bytes)):
        save(asked.file, text)
        remark(f"{asked.file} begins with what stage {asked.stage} serves")


def _put(asked: Asked) -> Iterator[tuple[str, Output]]:
    """Command by command; each begins when the one before is over."""
    if "aws" in asked.clouds:
        from fiso_cli.clouds.aws.command import aws_function

        yield "deploy aws-function", aws_function(asked.functions, memory=asked.memory, **asked.common)
    if "azure" in asked.clouds:
        yield from _to_azure(asked)
    if "gcp" in asked.clouds:
        from fiso_cli.clouds.google.command import gcp
        from fiso_cli.clouds.trust import command as trust

        yield "trust gcp", trust.gcp(project=asked.project, **asked.common)
        yield "deploy gcp", gcp(asked.functions, memory=asked.memory, project=asked.project, **asked.common)
    if asked.is_watched:
        yield from _watched(asked)
    yield "apply", _applied(asked, allow_removals=False)


def _to_azure(asked: Asked) -> Iterator[tuple[str, Output]]:
    """The application first, whose tokens the copies take; then the copies, and their hosts into it."""
    from fiso_cli.clouds.azure.command import azure
    from fiso_cli.clouds.trust import command as trust

    trusted = trust.azure(tenant=asked.tenant, **asked.common)
    yield "trust azure", trusted
    more: Any = trusted.document.get("more") if isinstance(trusted.document, dict) else None
    if not more:
        raise BadInput("without the trust nothing is deployed to Azure: say yes to it, or leave azure out of --on")
    yield (
        "deploy azure",
        azure(
            asked.functions,
            size=asked.memory,
            subscription=asked.subscription,
            tenant=asked.tenant,
            application_id=str(more[trust.FUNCTIONS]),
            **asked.common,
        ),
    )
    yield "trust azure (hosts)", trust.azure(tenant=asked.tenant, **asked.common)


def _watched(asked: Asked) -> Iterator[tuple[str, Output]]:
    """Taken back with the copies, by the same commands."""
    from fiso_cli.clouds.monitoring import Cloud, monitoring

    for cloud in (cloud for cloud in Cloud if cloud in asked.clouds):
        made = monitoring(cloud, subscription=asked.subscription, project=asked.project, **asked.sure)
        yield f"deploy monitoring {cloud}", made


def _taken_back(asked: Asked) -> Iterator[tuple[str, Output]]:
    """The other way round: no copy is in the catalog whose trust has gone."""
    from fiso_cli.clouds.aws.command import aws_function
    from fiso_cli.clouds.azure.command import azure
    from fiso_cli.clouds.google.command import gcp
    from fiso_cli.clouds.trust import command as trust

    before = functions_in(asked.file)
    if "gcp" in asked.clouds:
        yield "deploy gcp --destroy", gcp(asked.functions, project=asked.project, destroy=True, **asked.common)
    if "azure" in asked.clouds:
        own = {"subscription": asked.subscription, "destroy": True, **asked.common}
        yield "deploy azure --destroy", azure(asked.functions, **own)
    if "aws" in asked.clouds:
        yield "deploy aws-function --destroy", aws_function(asked.functions, destroy=True, **asked.common)
    going = before - functions_in(asked.file)
    if before:
        yield "apply", _applied(asked, allow_removals=_removals(asked) <= going)
    if asked.functions:
        return  # others of the stage's may need the trust
    parts: dict[str, Callable[[], Output]] = {
        "gcp": lambda: trust.gcp(project=asked.project, remove=True, **asked.common),
        "azure": lambda: trust.azure(tenant=asked.tenant, remove=True, **asked.common),
    }
    for cloud in ("gcp", "azure"):
        if cloud in asked.clouds:
            yield f"trust {cloud} --remove", parts[cloud]()
    if before:
        yield "apply", _applied(asked, allow_removals=False)


def _applied(asked: Asked, *, allow_removals: bool) -> Output:
    from fiso_cli.catalog.commands import apply

    return apply(**asked.common, allow_removals=allow_removals)


def _removals(asked: Asked) -> set[str]:
    """Functions that are in force and not in the file; none where nobody can say."""
    from fiso_cli.catalog.commands import apply

    try:
        document: Any = apply(asked.file, stage=asked.stage, dry_run=True, as_json=True).document
    except CommandError:
        return set()
    return set(document["removals"])


def functions_in(file: Path) -> set[str]:
    """The functions that a catalog file names."""
    from fiso_cli.catalog.yaml_text import parse

    whole: Any = parse(file.read_text(encoding="utf-8")).value if file.exists() else {}
    return {str(name) for name in (whole.get("functions") or {})}
