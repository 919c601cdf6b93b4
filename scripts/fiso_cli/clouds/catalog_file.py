"""The endpoints of a deployment, and who FISO is elsewhere, in the user's `fiso.yaml`: put in, taken out, comments
kept."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fiso_cli.errors import BadInput, CommandError
from fiso_cli.rendering import save

Made = Mapping[str, str | int]
"""An endpoint as the file has it."""


def check(file: Path) -> None:
    """`BadInput` before anything is made: what cannot be read could not be written afterwards."""
    from fiso_cli.catalog.yaml_text import parse

    try:
        parse(_text(file) or "version: 1")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise BadInput(f"{file}: {error}") from error


def write(file: Path, endpoints: Mapping[str, Sequence[Made]]) -> list[str]:
    """Put each function's endpoints in, and say so in lines. `CommandError` names those that were not written."""
    from fiso_cli.catalog.yaml_edit import with_endpoints

    made = [each for several in endpoints.values() for each in several]
    try:
        before = after = _text(file)
        for function, several in endpoints.items():
            after = with_endpoints(after, function, several)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        there = ", ".join(str(each["address"]) for each in made)
        raise CommandError(f"deployed ({there}), but {file} was not written: {error}") from error
    if after == before:
        return [f"{file} has the addresses already"]
    save(file, after.encode())
    return [f"{each['address']} -> {file}" for each in made]


def take_out(file: Path, copies: Mapping[str, Sequence[str]]) -> list[str]:
    """Take endpoints out by function and id, and say so. What was removed in the cloud stays removed if it fails."""
    from fiso_cli.catalog.yaml_edit import without_endpoints

    if not copies:
        return []
    try:
        before = after = _text(file)
        for function, ids in copies.items():
            after = without_endpoints(after, function, ids)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        return [f"{file} still has endpoints of it: {error}"]
    if after == before:
        return []
    save(file, after.encode())
    return [f"their endpoints are out of {file}; next: fiso apply -f {file}"]


def identify(file: Path, identities: Mapping[str, str]) -> list[str]:
    """Put in who FISO is elsewhere, and say so. `CommandError` where the file was not written."""
    from fiso_cli.catalog.yaml_edit import with_identities

    return _rewritten(file, lambda text: with_identities(text, identities), f"who FISO is there -> {file}")


def forget(file: Path, names: Sequence[str]) -> list[str]:
    """Take out who FISO was elsewhere, by its names in the file."""
    from fiso_cli.catalog.yaml_edit import without_identities

    return (
        _rewritten(file, lambda text: without_identities(text, names), f"it is out of {file}") if file.exists() else []
    )


def _rewritten(file: Path, change: Callable[[str], str], said: str) -> list[str]:
    try:
        before = _text(file)
        after = change(before)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise CommandError(f"done, but {file} was not written: {error}") from error
    if after == before:
        return []
    save(file, after.encode())
    return [said]


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""
