"""The programs in `docs/`, as text."""

import re
from pathlib import Path


def blocks(page: str, language: str) -> list[str]:
    """The programs of a page in a language, in its order."""
    text = (Path(__file__).parents[1] / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def programs(page: str) -> list[str]:
    return blocks(page, "python")


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
