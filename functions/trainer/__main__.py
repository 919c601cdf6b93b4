"""`python -m functions.trainer sagemaker | azureml | vertex`: one entry point under each platform's contract.

SageMaker starts a container with `train`, says its wishes in files and hears of a failure by a file and the exit code.
`serve` has the model answer instead
(`serving`). Azure Machine Learning gives folders as arguments, Vertex AI as addresses of storage that it has mounted.
"""

import os
import sys
from collections.abc import Mapping, Sequence

from functions.trainer.contracts import CONTRACTS, Contract, Misused
from functions.trainer.serving import serve
from functions.trainer.training import train

USAGE = (
    f"usage: python -m functions.trainer {' | '.join(CONTRACTS)} | serve [--training-data FOLDER --model-output FOLDER]"
)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """The exit code: 0, 1 where nothing could be trained, 2 for what the platform did not say."""
    name, *rest = arguments or [""]
    if name == "serve":
        return serve(environ)
    read = CONTRACTS.get("sagemaker" if name == "train" else name)
    if read is None:
        sys.stderr.write(f"{USAGE}\n")
        return 2
    try:
        contract: Contract = read(rest, environ)
    except Misused as error:
        sys.stderr.write(f"fiso trainer: {error}\n")
        return 2
    return train(contract)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
