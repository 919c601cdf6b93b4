"""SageMaker's training jobs on loopback: requests and answers held against botocore's model of the service, and the
trainer run as SageMaker runs a container. Its log is read by the calls of CloudWatch Logs.

Files are in a bucket of the S3 client that is given. A job is one state further with each look.
"""

import io
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.session
from botocore.validate import ParamValidator

from localcloud import training_container
from localcloud.loopback import LoopbackHandler, LoopbackServer
from localcloud.sagemaker_endpoints import Endpoints, Unlike

NEXT = {"Starting": "Downloading", "Downloading": "Training"}
_SERVICES = {"SageMaker": "sagemaker", "Logs_20140328": "logs"}


class Refused(Exception):
    """An error as the service tells it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(slots=True, kw_only=True)
class World:
    """Jobs by name. `refusals` are codes for the next calls of an operation; `interrupted` how often a spot machine is
    taken away before a job runs."""

    s3: Any
    folder: Path
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    lines: dict[str, tuple[str, ...]] = field(default_factory=dict)
    refusals: dict[str, list[str]] = field(default_factory=dict)
    interrupted: int = 0
    created: int = 0
    endpoints: Endpoints = field(default_factory=Endpoints)


def answer(world: World, target: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What an operation answers; `Refused`."""
    prefix, _, operation = target.partition(".")
    model = botocore.session.get_session().get_service_model(_SERVICES[prefix]).operation_model(operation)
    report = ParamValidator().validate(asked, model.input_shape)
    problems = [report.generate_report()] if report.has_errors() else list(_patterns(asked, model.input_shape))
    if problems:
        raise Refused("ValidationException", problems[0])
    if codes := world.refusals.get(operation):
        raise Refused(codes.pop(0), f"{operation} is refused for a test")
    does = _OPERATIONS.get(operation)
    try:
        found = does(world, asked) if does else world.endpoints.answered(operation, asked)
    except Unlike as error:
        raise Refused("ValidationException", str(error)) from error
    if model.output_shape is not None:
        wrong = ParamValidator().validate(found, model.output_shape)
        if wrong.has_errors():
            raise AssertionError(wrong.generate_report())
    return found


def _patterns(value: Any, shape: Any) -> Any:
    """What botocore leaves to the service: patterns and the words of enumerations."""
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            if name in value:
                yield from _patterns(value[name], member)
    elif shape.type_name == "list":
        for each in value:
            yield from _patterns(each, shape.member)
    elif shape.type_name == "string":
        pattern, words = shape.metadata.get("pattern"), getattr(shape, "enum", None)
        if pattern and not re.fullmatch(_python(pattern), value):
            yield f"Value '{value}' failed to satisfy constraint: Member must satisfy regular expression {pattern}"
        if words and value not in words:
            yield f"Value '{value}' failed to satisfy constraint: Member must satisfy enum value set"


def _python(pattern: str) -> str:
    """A pattern of Java's: classes of characters by their Unicode property have other names here."""
    for java, python in ((r"\p{L}", r"\w"), (r"\p{Z}", r"\s"), (r"\p{N}", r"\d")):
        pattern = pattern.replace(java, python)
    return pattern


def _create(world: World, asked: Mapping[str, Any]) -> dict[str, Any]:
    name, limit = asked["TrainingJobName"], asked["StoppingCondition"]
    if name in world.jobs:
        raise Refused("ResourceInUse", "Job name must be unique within an AWS account and region")
    if asked.get("EnableManagedSpotTraining"):
        if limit.get("MaxWaitTimeInSeconds", 0) < limit["MaxRuntimeInSeconds"]:
            raise Refused(
                "ValidationException", "MaxWaitTimeInSeconds must be equal to or more than MaxRuntimeInSeconds"
            )
    elif "MaxWaitTimeInSeconds" in limit:
        raise Refused("ValidationException", "MaxWaitTimeInSeconds is for managed spot training alone")
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{name}"
    world.jobs[name] = {**asked, "arn": arn, "status": "InProgress", "secondary": "Starting"}
    world.created += 1
    return {"TrainingJobArn": arn}


def _describe(world: World, asked: Mapping[str, Any]) -> dict[str, Any]:
    job = _job(world, asked)
    if job["secondary"] == "Training":
        _run(world, job)
    else:
        job["secondary"] = NEXT.get(job["secondary"], job["secondary"])
    name = job["TrainingJobName"]
    shown = {
        "TrainingJobName": name,
        "TrainingJobArn": job["arn"],
        "TrainingJobStatus": job["status"],
        "SecondaryStatus": job["secondary"],
        "ModelArtifacts": {"S3ModelArtifacts": f"{job['OutputDataConfig']['S3OutputPath']}/{name}/output/model.tar.gz"},
        "AlgorithmSpecification": job["AlgorithmSpecification"],
        "ResourceConfig": job["ResourceConfig"],
        "StoppingCondition": job["StoppingCondition"],
        "CreationTime": 1_796_000_000,
    }
    return shown | ({"FailureReason": job["reason"]} if "reason" in job else {})


def _stop(world: World, asked: Mapping[str, Any]) -> dict[str, Any]:
    job = _job(world, asked)
    if job["status"] != "InProgress":
        raise Refused("ValidationException", "The request was rejected because the training job is not running")
    job.update(status="Stopped", secondary="Stopped")
    return {}


def _streams(world: World, asked: Mapping[str, Any]) -> dict[str, Any]:
    name = asked["logStreamNamePrefix"].rstrip("/")
    return {"logStreams": [{"logStreamName": f"{name}/algo-1-1"}] if name in world.lines else []}


def _events(world: World, asked: Mapping[str, Any]) -> dict[str, Any]:
    lines = world.lines[asked["logStreamName"].partition("/")[0]]
    return {"events": [{"message": line, "timestamp": 1_796_000_000_000} for line in lines[-asked["limit"] :]]}


_OPERATIONS = {
    "CreateTrainingJob": _create,
    "DescribeTrainingJob": _describe,
    "StopTrainingJob": _stop,
    "DescribeLogStreams": _streams,
    "GetLogEvents": _events,
}


def _job(world: World, asked: Mapping[str, Any]) -> dict[str, Any]:
    if asked["TrainingJobName"] not in world.jobs:
        raise Refused("ValidationException", "Requested resource not found.")
    return world.jobs[asked["TrainingJobName"]]


def _run(world: World, job: dict[str, Any]) -> None:
    if job.get("EnableManagedSpotTraining") and world.interrupted:
        world.interrupted -= 1
        job["secondary"] = "Starting"
        return
    name = job["TrainingJobName"]
    root = world.folder / name
    for channel in job["InputDataConfig"]:
        _fetch(world, channel["DataSource"]["S3DataSource"]["S3Uri"], root / "input/data" / channel["ChannelName"])
    (root / "input/config").mkdir(parents=True, exist_ok=True)
    (root / "input/config/hyperparameters.json").write_text(json.dumps(job.get("HyperParameters", {})))
    limit = job["StoppingCondition"]["MaxRuntimeInSeconds"]
    environ = {"FISO_OPT_ML": str(root), "TRAINING_JOB_NAME": name, **job.get("Environment", {})}
    ended = training_container.run(["train"], environ, longest_s=limit)
    world.lines[name] = ended.lines
    if ended.code:
        failure = root / "output/failure"
        reason = failure.read_text() if failure.exists() else ""
        job.update(status="Failed", secondary="Failed", reason=f"AlgorithmError: {reason}, exit code: {ended.code}")
        return
    _put(world, job, root / "model")
    job.update(status="Completed", secondary="Completed")


def _fetch(world: World, uri: str, folder: Path) -> None:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    for each in world.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
        path = folder / each["Key"].removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(world.s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read())


def _put(world: World, job: Mapping[str, Any], folder: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(folder, arcname=".")
    bucket, _, prefix = job["OutputDataConfig"]["S3OutputPath"].removeprefix("s3://").partition("/")
    key = f"{prefix}/{job['TrainingJobName']}/output/model.tar.gz"
    world.s3.put_object(Bucket=bucket, Key=key, Body=packed.getvalue())


class _Handler(LoopbackHandler):
    server: "SageMakerServer"

    def do_POST(self) -> None:  # noqa: N802
        content = self.content()
        status, document = 200, dict[str, Any]()
        try:
            if (why := self.refused()) is not None:
                raise Refused("AccessDeniedException", why)
            document = answer(self.server.world, self.headers["x-amz-target"], json.loads(content))
        except Refused as error:
            status, document = 400, {"__type": error.code, "message": error.message}
        self.send(status, json.dumps(document).encode(), "application/x-amz-json-1.1", {})


class SageMakerServer(LoopbackServer):
    """The jobs of a world."""

    def __init__(self, world: World, port: int = 0) -> None:
        super().__init__(_Handler, port)
        self.world = world
