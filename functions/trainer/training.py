"""One training under a contract: read, train, write, say how it went."""

import json
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from fiso.domain.errors import ModelRefused
from fiso.learning import job
from functions.trainer.contracts import Contract

LONGEST_REASON = 1024
"""What SageMaker shows of a failure's file."""


def train(contract: Contract) -> int:
    """The exit code: 0, or 1 with the reason on the error stream and where the platform looks for it."""
    try:
        results = job.run(contract.data, contract.wishes)
        _write(contract.model, results)
    except ModelRefused as error:
        return _failed(contract, str(error))
    except Exception as error:  # noqa: BLE001 - the edge: the platform shows no more than what stands where it looks
        traceback.print_exc()
        return _failed(contract, f"{type(error).__name__}: {error}")
    # The form that SageMaker's metric definitions and whoever reads a log find: `name=value;`.
    measured = json.loads(results[job.METRICS]).items()
    sys.stdout.write(" ".join(f"{name}={value};" for name, value in measured) + "\n")
    return 0


def _write(folder: Path, results: Mapping[str, bytes]) -> None:
    """The manifest last: a folder without one is not finished, however it was interrupted."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in sorted(results.items(), key=lambda each: each[0] == job.MANIFEST):
        (folder / name).write_bytes(content)


def _failed(contract: Contract, reason: str) -> int:
    sys.stderr.write(f"fiso trainer: {reason}\n")
    if contract.failure is not None:
        contract.failure.parent.mkdir(parents=True, exist_ok=True)
        contract.failure.write_text(reason[:LONGEST_REASON], encoding="utf-8")
    return 1
