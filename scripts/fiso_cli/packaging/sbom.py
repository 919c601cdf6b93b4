"""Bills of materials: what is in a package, file by file, with version, licence and digest of each, as CycloneDX 1.6
has it (ecma-international.org, ECMA-424). Beside each archive, named as it and `.cdx.json`; unchanged while that is.

A container's build runs this file alone, over the folder that it laid out: `python sbom.py /app /app/sbom.cdx.json`. It
ends where the image that all of that is put into is not named by its digest.
"""

import json
import os
import re
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from email.message import Message
from email.parser import HeaderParser
from hashlib import sha256
from importlib.metadata import PathDistribution
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from fiso import __version__

SUFFIX = ".cdx.json"
LICENCE = "MIT"
"""FISO's own."""
_CLASSIFIER = "License :: "
_LONGEST_NAME = 100
_EMPTY = ("", "unknown", "dual license")
Component: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """One that was installed: `licence` is an SPDX expression or, where `is_expression` is false, what it calls it;
    `files` are the paths of its record below the folder that it was installed in."""

    name: str
    version: str
    licence: str
    is_expression: bool
    files: tuple[str, ...]


def installed(folder: Path) -> list[Distribution]:
    """The distributions in a folder, by name. To be asked before anything is taken away from it."""
    found = []
    for path in sorted(folder.glob("*.dist-info")):
        metadata = HeaderParser().parsestr((path / "METADATA").read_text(encoding="utf-8"), headersonly=True)
        expression = metadata.get("License-Expression")
        files = sorted(PurePosixPath(str(each)).as_posix() for each in PathDistribution(path).files or ())
        found.append(
            Distribution(
                name=str(metadata["Name"]).lower().replace("_", "-"),
                version=str(metadata["Version"]),
                licence=expression or _licence(metadata),
                is_expression=expression is not None,
                files=tuple(files),
            )
        )
    return found


def _licence(metadata: Message) -> str:
    """What wheels from before `License-Expression` say: a classifier's last words, or a short line of their own."""
    said = [each.rpartition(" :: ")[2] for each in metadata.get_all("Classifier", []) if each.startswith(_CLASSIFIER)]
    own = str(metadata.get("License") or "").strip()
    if own.lower() not in _EMPTY and len(own) <= _LONGEST_NAME and "\n" not in own:
        return own
    return ", ".join(sorted(each for each in said if each != "OSI Approved")) or "unknown"


def save(distributions: Sequence[Distribution], path: Path) -> None:
    path.write_text(json.dumps([asdict(each) for each in distributions]) + "\n", encoding="utf-8")


def load(path: Path) -> list[Distribution]:
    """What `save` wrote."""
    return [Distribution(**{**each, "files": tuple(each["files"])}) for each in json.loads(path.read_bytes())]


def document(archive: Path, distributions: Sequence[Distribution], *, folder: str = "") -> dict[str, Any]:
    """The bill of an archive. `folder` is where in it the distributions lie; what is of none of them is FISO's own."""
    with zipfile.ZipFile(archive) as opened:
        files = [(name, sha256(opened.read(name)).hexdigest()) for name in opened.namelist()]
    components = _components(archive.stem, files, distributions, folder=folder)
    return _bill(archive.stem, sha256(archive.read_bytes()).hexdigest(), components)


def of_folder(folder: Path, base: str) -> dict[str, Any]:
    """The bill of what a container's build laid out, upon an image that is named by its digest. `ValueError` without:
    what a tag leads to is another thing tomorrow, and nobody could say what was in the container."""
    image, at, digest = base.partition("@sha256:")
    if not at or not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError(f"BASE_IMAGE must be named by its digest, as IMAGE@sha256:…, not {base!r} (docs/serve.md)")
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    files = [(path.relative_to(folder).as_posix(), sha256(path.read_bytes()).hexdigest()) for path in found]
    below = {
        "type": "container",
        "bom-ref": base,
        "name": image,
        "version": f"sha256:{digest}",
        "hashes": _hashes(digest),
    }
    whole = sha256(json.dumps([base, files]).encode()).hexdigest()
    return _bill("image", whole, [below, *_components("image", files, installed(folder))])


def _components(
    name: str, files: Sequence[tuple[str, str]], distributions: Sequence[Distribution], *, folder: str = ""
) -> list[Component]:
    """Each distribution with its files; what is of none of them is FISO's own."""
    owners = {str(PurePosixPath(folder, file)): each.name for each in distributions for file in each.files}
    by_owner: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for file, digest in files:
        by_owner[owners.get(_source(file), "")].append((file, digest))
    components = [_library(each, by_owner[each.name]) for each in distributions if each.name in by_owner]
    return components + ([_own(name, by_owner[""])] if "" in by_owner else [])


def _bill(stem: str, digest: str, components: Sequence[Component]) -> dict[str, Any]:
    name = f"fiso-{stem}"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid5(NAMESPACE_URL, f"{name}:{digest}").urn,
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": name,
                "name": name,
                "version": __version__,
                "hashes": _hashes(digest),
                "licenses": [{"expression": LICENCE}],
            }
        },
        "components": list(components),
        "dependencies": [{"ref": name, "dependsOn": [each["bom-ref"] for each in components]}],
    }


def write(archive: Path, distributions: Sequence[Distribution], *, folder: str = "") -> None:
    """The bill beside its archive."""
    text = json.dumps(document(archive, distributions, folder=folder), separators=(",", ":"))
    place(archive).write_text(text + "\n", encoding="utf-8")


def place(archive: Path) -> Path:
    """Where an archive's bill is."""
    return archive.with_name(archive.stem + SUFFIX)


def libraries(bill: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and version of each library in a bill."""
    yield from ((each["name"], each["version"]) for each in bill["components"] if each["type"] == "library")


def _source(name: str) -> str:
    """The file whose bytecode this is, or the file itself."""
    path = PurePosixPath(name)
    if path.parent.name != "__pycache__":
        return name
    return str(path.parent.parent / f"{path.name.partition('.')[0]}.py")


def _library(each: Distribution, files: Sequence[tuple[str, str]]) -> Component:
    licence = {"expression": each.licence} if each.is_expression else {"license": {"name": each.licence}}
    url = f"pkg:pypi/{quote(each.name)}@{quote(each.version)}"
    return {
        "type": "library",
        "bom-ref": url,
        "name": each.name,
        "version": each.version,
        "purl": url,
        "licenses": [licence],
        "components": _files(url, files),
    }


def _own(name: str, files: Sequence[tuple[str, str]]) -> Component:
    kind = "machine-learning-model" if name == "layer-model" else "application"
    return {
        "type": kind,
        "bom-ref": "fiso",
        "name": "fiso",
        "version": __version__,
        "licenses": [{"expression": LICENCE}],
        "components": _files("fiso", files),
    }


def _files(of: str, files: Sequence[tuple[str, str]]) -> list[Component]:
    return [
        {"type": "file", "bom-ref": f"{of}#{name}", "name": name, "hashes": _hashes(digest)} for name, digest in files
    ]


def _hashes(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}]


def main(folder: str, target: str) -> int:
    try:
        bill = of_folder(Path(folder), os.environ.get("BASE_IMAGE", ""))
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    Path(target).write_text(json.dumps(bill, separators=(",", ":")) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
