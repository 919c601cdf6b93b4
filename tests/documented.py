"""The programs in `docs/`, as text."""

import re
from pathlib import Path

_PROGRAM = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def programs(page: str) -> list[str]:
    """The Python programs of a page, in its order."""
    text = (Path(__file__).parents[1] / "docs" / page).read_text(encoding="utf-8")
    return [found[1] for found in _PROGRAM.finditer(text)]


_BLOCK = re.compile(r"^```(?:sh|console|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fiso_commands(text: str) -> list[list[str]]:
    """The words of each `fiso` command in the blocks of a page, as a shell would split them."""
    found = []
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s(?:&&|\|\|?|;)\s|\s>\s?\S+|\$\(", line.split(" # ")[0].removeprefix("$ ")):
                words = part.strip().split()
                if words[:1] == ["fiso"]:
                    found.append(words)
    return found
