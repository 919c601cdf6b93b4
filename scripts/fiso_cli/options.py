"""Options that many commands share, and how a shell completes them: offline, from what this folder holds."""

import re
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

CATALOG = Path("fiso.yaml")
_FUNCTIONS = re.compile(r"^functions:[^\n]*\n((?:[ #][^\n]*\n|\n)*)", re.MULTILINE)
_NAME = re.compile(r"^  ['\"]?([A-Za-z0-9][\w.-]*)['\"]?:", re.MULTILINE)


def functions_here(incomplete: str) -> list[str]:
    """The functions of the catalog file in this folder. Read by its layout: a key two blanks in, as `fiso export`
    writes it; a shell that waits for TAB waits for no YAML library."""
    try:
        found = _FUNCTIONS.search(CATALOG.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return []
    names = _NAME.findall(found[1]) if found else []
    return [name for name in names if name.startswith(incomplete)]


def stages_here(incomplete: str) -> list[str]:
    """The local stage, and those that were packaged in this folder."""
    built = [path.parent.name for path in Path("build").glob("*/cloudformation-template.json")]
    return [name for name in dict.fromkeys(["local", *sorted(built)]) if name.startswith(incomplete)]


StageOption: TypeAlias = Annotated[
    str, typer.Option("--stage", help="The stage: local, or a deployed one.", autocompletion=stages_here)
]
UrlOption: TypeAlias = Annotated[
    str, typer.Option("--api-url", envvar="FISO_API_URL", help="The API's address, instead of looking it up.")
]
FunctionArgument: TypeAlias = Annotated[
    str, typer.Argument(help="The function's name in the catalog.", autocompletion=functions_here)
]
DataOption: TypeAlias = Annotated[
    str, typer.Option("--data", "-d", help="The body: @FILE, - for standard input, or the text.")
]
CasesOption: TypeAlias = Annotated[
    str, typer.Option("--data", "-d", help="@FOLDER/ (a case per file), @FILE, - for standard input, or the body.")
]
ContentTypeOption: TypeAlias = Annotated[
    str, typer.Option(help="Default: application/json if it is JSON, else plain bytes.")
]
RegionOption: TypeAlias = Annotated[str, typer.Option(help="Where the user is, for region affinity.")]
SinceOption: TypeAlias = Annotated[
    str | None, typer.Option("--since", help="How far back: 30d, 12h. All of a file, when not said.")
]
RecordsOption: TypeAlias = Annotated[
    int, typer.Option("--records", min=0, help="At most so many of an archive, sampled hour by hour; 0 for all.")
]
LogOption: TypeAlias = Annotated[
    Path | None, typer.Option("--log", help="Record documents instead, one JSON object a line, plain or gzip.")
]
YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
RotateOption: TypeAlias = Annotated[
    bool, typer.Option("--rotate", help="Add a new key; the one before it counts until the next.")
]
