"""Golden files: content that is compared byte by byte with a file under `files/`, see README.md.

With FISO_REWRITE_GOLDEN=1 the files are written instead. Each function gives what the *file* holds, to be read again.
"""

import base64
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILES = Path(__file__).with_name("files")
REWRITE = "FISO_REWRITE_GOLDEN"
_BEFORE_A_PART = re.compile(r'(?<=,)(?= ?["\[{])')


def golden(name: str, content: str) -> str:
    """Text that must be the file's."""
    path = FILES / name
    if os.environ.get(REWRITE) == "1":
        path.write_bytes(content.encode())
    assert path.exists(), f"no golden file {name}: {REWRITE}=1 pytest tests/golden writes it"
    kept = path.read_bytes().decode()
    assert content == kept, f"the format of {name} moved"
    return kept


def golden_line(name: str, line: str | bytes) -> str:
    """One line, kept broken at its commas; without the breaks it comes back."""
    text = line.decode("ascii") if isinstance(line, bytes) else line
    assert "\n" not in text
    return golden(name, "\n".join(parts_of(text)) + "\n").replace("\n", "")


def parts_of(line: str) -> list[str]:
    """A line broken after its commas."""
    return _BEFORE_A_PART.split(line)


def golden_json(name: str, document: object) -> Any:
    """A document whose keys have no order, kept as sorted JSON."""
    text = json.dumps(document, indent=1, sort_keys=True, default=_binary, allow_nan=False)
    return json.loads(golden(name, text + "\n"), object_hook=restored)


def rounded(value: Any) -> Any:
    """The same document with floats of 9 significant digits."""
    match value:
        case float():
            return float(f"{value:.9g}")
        case Mapping():
            return {name: rounded(part) for name, part in value.items()}
        case list() | tuple():
            return [rounded(part) for part in value]
    return value


def _binary(value: object) -> dict[str, str]:
    if not isinstance(value, bytes):
        raise TypeError(f"{value!r} is nothing that goes over a wire")
    return {"base64": base64.b64encode(value).decode("ascii")}


def restored(document: dict[str, Any]) -> Any:
    """Bytes, where a document had them."""
    return base64.b64decode(document["base64"]) if document.keys() == {"base64"} else document
