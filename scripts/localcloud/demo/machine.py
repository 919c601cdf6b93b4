"""Machines: what the demo asks of the world, as an interface. The choreography in `run` knows nothing else."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from fiso.domain.model import RetrainingRun
from fiso_cli.traffic.gateway import Gateway


class Machine(Protocol):
    """A local cloud that can be prepared, disturbed and counted."""

    def boot(self) -> str:
        """Bring the local cloud up; one line about what was started."""
        ...

    def train(self) -> str:
        """Train the packaged model unless there is one; one line about it."""
        ...

    def deploy(self) -> str:
        """Deploy with the `serverless` command; one line about it."""
        ...

    def apply(self) -> str:
        """Apply the demo catalog; one line about it."""
        ...

    def retrain(self) -> str:
        """Ask for a retraining now; one line about what came of it."""
        ...

    def kill(self, provider: str) -> None:
        """Stop one provider's functions from answering."""
        ...

    def heal(self, provider: str) -> None:
        """Let them answer again."""
        ...

    def gateway(self) -> Gateway:
        """The deployed API."""
        ...

    def had_champion(self) -> bool:
        """Whether an earlier run published a model into this stage."""
        ...

    def logged_since(self, moment: datetime) -> int:
        """Finished records in the log table that arrived at or after a moment."""
        ...

    def folded(self) -> int:
        """Records folded so far, by the state table."""
        ...

    def runs_since(self, moment: datetime) -> Sequence[RetrainingRun]:
        """The retraining runs that started at or after a moment."""
        ...
