"""The hand-over: where a log holds more rows than one function learns from, the run says by which command a training
platform learns from them. The function learns from a share of them all the same, so that no day waits for an operator.

The retrainer submits nothing itself: whoever trains on the log may begin no machines, and a job outlives a function.
"""

import re

from fiso.domain.archive import Extent
from fiso.domain.model import Step, Verdict

NAME = "hand_over"
PLATFORMS = ("sagemaker", "azureml", "vertex")
MOST_ROWS = 1_000_000
"""What `fiso train --on` reads unless it is told otherwise: a machine of 16 GB learns from them in minutes."""
ANY = "sagemaker --image IMAGE --role ARN"
"""Where a stage names no platform."""
_OPTIONS = re.compile(rf"({'|'.join(PLATFORMS)})( --[a-z][a-z-]*( [A-Za-z0-9][A-Za-z0-9:/@._=+-]*)?)*")
_LONGEST = 500


def parsed(text: str) -> str:
    """The platform and its options as a stage names them (`trainOn`); `ValueError` for what is no such thing: it is
    shown as a command that an operator runs."""
    if text and (len(text) > _LONGEST or not _OPTIONS.fullmatch(text)):
        raise ValueError(f"must be one of {', '.join(PLATFORMS)} and its options, as in {ANY!r}, not {text!r:.80}")
    return text


def step(extent: Extent, *, most_rows: int, stage: str, family: str, train_on: str) -> Step | None:
    """What a run records; None where the rows are within the limit."""
    standing = round(extent.standing)
    if standing <= most_rows:
        return None
    read = f"{extent.records:,} of about {standing:,} records were learned from"
    cut = f", and a platform reads {MOST_ROWS:,}" if standing > MOST_ROWS else ""
    command = f"fiso train --on {train_on or ANY} --family {family} --stage {stage}"
    return Step(
        name=NAME,
        verdict=Verdict.SKIPPED,
        reason=f"{read}{cut}; more: {command}",
        figures={"standing": float(standing), "most_rows": float(most_rows)},
    )
