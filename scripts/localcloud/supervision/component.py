"""A component of the local cloud as a value: what to run, where it listens, how to see that it is well."""

import hashlib
import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from localcloud.supervision.health import HealthCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One long-running process. It starts when all it `needs` are well, and anew when one of them is; it stops before
    these and all it `uses`.

    `ports[0]` is the one shown. The folders it `writes` are made before it starts and deleted by a reset. A process
    working in `workplace` belongs to the component even if no record names it.
    """

    name: str
    command: tuple[str, ...]
    ports: tuple[int, ...]
    check: HealthCheck
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path("/")
    writes: tuple[Path, ...] = ()
    needs: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()
    workplace: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 10.0

    @property
    def below(self) -> frozenset[str]:
        """All that outlive it when they are stopped together."""
        return self.needs | self.uses

    @property
    def fingerprint(self) -> str:
        """Changes when the process would be started differently."""
        text = json.dumps([self.command, sorted(self.environment.items()), str(self.folder)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def stop_waves(components: tuple[Component, ...]) -> dict[str, int]:
    """When each is stopped: before all those it stands on. Unknown names do not count."""
    known = {component.name: component for component in components}

    def depth(name: str) -> int:
        return 1 + max((depth(before) for before in known[name].below if before in known), default=0)

    depths = {name: depth(name) for name in known}
    last = max(depths.values(), default=0)
    return {name: last - found for name, found in depths.items()}
