"""The endpoints of a model, from what the command line said: which platform's, and which model."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fiso.adapters.aws.candidates import S3Candidates
from fiso.adapters.aws.models import S3ModelStore
from fiso.ports import ModelFiles
from fiso_cli.clouds.google.client import Google
from fiso_cli.errors import BadInput
from fiso_cli.stage import Stage
from fiso_cli.training.platforms.sagemaker_endpoint import SageMakerEndpoint
from fiso_cli.training.platforms.vertex_endpoint import VertexEndpoint

PLATFORMS = ("sagemaker", "vertex")


def endpoint_of(
    on: str, where: Stage, *, image: str, role: str, project: str, bucket: str, region: str
) -> VertexEndpoint | SageMakerEndpoint:
    if on not in PLATFORMS:
        raise BadInput(f"--on must be one of {', '.join(PLATFORMS)}, not {on!r}")
    if on == "vertex":
        if not project or not bucket:
            raise BadInput("--project and --bucket are needed: Google's project, and a bucket in the endpoint's region")
        return VertexEndpoint(google=Google(project), stage=where.name, bucket=bucket, image=image, region=region)
    if not role:
        raise BadInput("--role is needed: the ARN of the role that reads the model (docs/learning.md)")
    clients = {name: where.client(name) for name in ("sagemaker", "sagemaker-runtime", "s3")}
    return SageMakerEndpoint(
        client=clients["sagemaker"],
        runtime=clients["sagemaker-runtime"],
        s3=clients["s3"],
        bucket=where.bucket,
        role=role,
        stage=where.name,
        image=image,
        pause=time.sleep,
    )


def sized(endpoint: VertexEndpoint | SageMakerEndpoint, machine: str, most: int) -> VertexEndpoint | SageMakerEndpoint:
    if isinstance(endpoint, VertexEndpoint):
        return replace(endpoint, machine=machine, most=most)
    return replace(endpoint, most=most)


def model_of(client: Any, bucket: str, version: str) -> ModelFiles:
    """The champion without a version; else a model that was it, or a candidate. `BadInput` where there is none."""
    store = S3ModelStore(client, bucket)
    pointer = store.promoted(version) if version else store.champion()
    if pointer is not None:
        return ModelFiles(pointer=pointer, artifact=store.artifact(pointer), card={})
    found = S3Candidates(client, bucket).get(version, admitted=False) if version else None
    if found is None:
        raise BadInput(f"there is no model {version[:60]!r} here: `fiso model list` shows those there are")
    return found


def rows_of(file: Path) -> Sequence[Any]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{file}: {' '.join(str(error).split())[:200]}") from error
    if not rows:
        raise BadInput(f"{file} has no rows")
    return rows
