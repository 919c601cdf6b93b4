"""Contracts: where each platform puts the rows, wants the model and hears of a failure, and how it says its wishes.

SageMaker: docs.aws.amazon.com, "How Amazon SageMaker AI provides training information". Azure Machine Learning: inputs
and outputs of a command job. Vertex AI: "Environment variables for special Cloud Storage directories", mounted at /gcs.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CHANNEL = "training"
OPT_ML = "FISO_OPT_ML"
"""Another place than /opt/ml, for whoever runs a container's code without its container."""
GCS = "FISO_GCS"
"""Another place than /gcs, likewise."""


class Misused(Exception):
    """The platform did not say what its contract says it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One training's folders and wishes. `failure` is a file that a failure's reason goes to."""

    data: Path
    model: Path
    wishes: Mapping[str, str] = field(default_factory=dict)
    failure: Path | None = None


def sagemaker(arguments: Sequence[str], environ: Mapping[str, str]) -> Contract:
    """`/opt/ml`. Hyperparameters are an object of strings, whatever they mean; names that begin with `sagemaker_` are
    the vendor's own."""
    root = Path(environ.get(OPT_ML, "/opt/ml"))
    try:
        found = json.loads((root / "input/config/hyperparameters.json").read_text())
    except FileNotFoundError:
        found = {}
    except (OSError, ValueError) as error:
        raise Misused(f"hyperparameters.json cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise Misused("hyperparameters.json is no object")
    wishes = {str(name): str(value) for name, value in found.items() if not str(name).startswith("sagemaker_")}
    return Contract(
        data=root / "input/data" / CHANNEL, model=root / "model", wishes=wishes, failure=root / "output/failure"
    )


def azureml(arguments: Sequence[str], environ: Mapping[str, str]) -> Contract:
    """Folders as arguments, which the platform has mounted."""
    given = _parsed(arguments)
    if not given.training_data or not given.model_output:
        raise Misused("--training-data and --model-output are needed: ${{inputs.…}} and ${{outputs.…}} of the job")
    return Contract(data=Path(given.training_data), model=Path(given.model_output), wishes=_wishes(given))


def vertex(arguments: Sequence[str], environ: Mapping[str, str]) -> Contract:
    """Addresses in Cloud Storage: AIP_TRAINING_DATA_URI, or an argument for a job without a managed data set; and
    AIP_MODEL_DIR, which follows from the job's base output directory."""
    given = _parsed(arguments)
    data = given.training_data or environ.get("AIP_TRAINING_DATA_URI", "")
    model = given.model_output or environ.get("AIP_MODEL_DIR", "")
    if not data or not model:
        raise Misused("--training-data (or AIP_TRAINING_DATA_URI) and AIP_MODEL_DIR are needed")
    root = environ.get(GCS, "/gcs")
    return Contract(data=_mounted(data, root), model=_mounted(model, root), wishes=_wishes(given))


CONTRACTS: Mapping[str, Callable[[Sequence[str], Mapping[str, str]], Contract]] = {
    "sagemaker": sagemaker,
    "azureml": azureml,
    "vertex": vertex,
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise Misused(message)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(add_help=False, allow_abbrev=False)
    for name in ("--training-data", "--model-output", "--families", "--with-quantiles"):
        parser.add_argument(name)
    return parser.parse_args(arguments)


def _wishes(given: argparse.Namespace) -> Mapping[str, str]:
    said = {"families": given.families, "with_quantiles": given.with_quantiles}
    return {name: value for name, value in said.items() if value is not None}


def _mounted(address: str, root: str) -> Path:
    """Where an address of Cloud Storage is mounted; a path is one already."""
    if not address.startswith("gs://"):
        return Path(address)
    path = Path(root, address.removeprefix("gs://"))
    if ".." in path.parts:
        raise Misused(f"{address} leaves its bucket")
    return path
