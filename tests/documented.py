"""The programs in `docs/`, as text."""

import re
from pathlib import Path

_PROGRAM = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def programs(page: str) -> list[str]:
    """The Python programs of a page, in its order."""
    text = (Path(__file__).parents[1] / "docs" / page).read_text(encoding="utf-8")
    return [found[1] for found in _PROGRAM.finditer(text)]
