"""What the three distributions have in common: the version, and the ranges of what they need.

Both stand once: the version in `shared/fiso/__init__.py`, the ranges in the project's own `pyproject.toml`. A
distribution names its needs; another one of ours is needed in the same version.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

OURS = {"fiso-client", "fiso", "fiso-cli"}


class SharedMetadata(MetadataHookInterface):
    """Fills in what the distributions' files call dynamic, by their `needs` and `extras`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Change the metadata in place. `KeyError` for a need that the project does not have."""
        root = Path(self.root).parents[2]
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        version = _version(root)
        known = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
        ranges = {_name(need): need for need in known}

        def ranged(needs: list[str]) -> list[str]:
            return [f"{need}=={version}" if _name(need) in OURS else ranges[need] for need in needs]

        metadata["version"] = version
        metadata["license"] = project["license"]
        metadata["requires-python"] = project["requires-python"]
        metadata["dependencies"] = ranged(self.config["needs"])
        metadata["optional-dependencies"] = {
            extra: ranged(needs) for extra, needs in self.config.get("extras", {}).items()
        }


def _version(root: Path) -> str:
    found = re.search(r'^__version__ = "(.+)"$', (root / "shared/fiso/__init__.py").read_text(encoding="utf-8"), re.M)
    if found is None:
        raise ValueError("shared/fiso/__init__.py has no __version__")
    return found[1]


def _name(need: str) -> str:
    return re.split(r"[\[<>=~! ;]", need, maxsplit=1)[0]
