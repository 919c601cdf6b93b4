"""`fiso-prediction-endpoint` on SageMaker: one of a stage's models behind a serverless endpoint, for batches.

Serverless, since nobody asks it most of the time: a machine is paid for while it answers. Not tried against AWS itself:
held against botocore's model, and run on a local server.
"""

import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from fiso.learning.job import MANIFEST, MODEL
from fiso.ports import ModelFiles
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step, different, not_ours
from fiso_cli.errors import CommandError
from fiso_cli.training.platforms.sagemaker import refused

ENDPOINT = "fiso-prediction-endpoint"
MEMORY_MB, MOST = 2048, 3
LONGEST_S = 900.0
EVERY_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SageMakerEndpoint:
    """One stage's endpoint. `role` reads the model's file; `pause` waits between two looks."""

    client: Any
    s3: Any
    bucket: str
    role: str
    stage: str
    image: str
    pause: Callable[[float], None]
    runtime: Any = None
    most: int = MOST

    @property
    def name(self) -> str:
        return f"{ENDPOINT}-{self.stage}"

    def close(self) -> None:
        """Its clients are the session's."""

    def steps(self, files: ModelFiles) -> list[Step]:
        version, name = files.pointer.version, self._named(files)
        return [
            Step(
                name=f"model {version}",
                makes="its file in the bucket, and a model of SageMaker with the trainer's image",
                look=lambda: self._look("describe_model", ModelName=name),
                make=lambda say: self._make_model(files, name),
                undo=lambda say: self._gone("delete_model", ModelName=name),
            ),
            Step(
                name=f"configuration {name}",
                makes=f"serverless, {MEMORY_MB} MB, at most {self.most} at once",
                look=lambda: self._look("describe_endpoint_config", EndpointConfigName=name),
                make=lambda say: self._configure(name),
                undo=lambda say: self._gone("delete_endpoint_config", EndpointConfigName=name),
            ),
            Step(
                name=self.name,
                makes="an endpoint",
                look=lambda: self._look_at_endpoint(name),
                make=lambda say: self._make_endpoint(name, say),
                undo=lambda say: self._gone("delete_endpoint", EndpointName=self.name),
                is_slow=True,
            ),
        ]

    def model(self, name: str, place: str) -> Mapping[str, Any]:
        container = {"Image": self.image, "ModelDataUrl": place}
        return {
            "ModelName": name,
            "PrimaryContainer": container,
            "ExecutionRoleArn": self.role,
            "EnableNetworkIsolation": True,
            "Tags": self._tags,
        }

    def configuration(self, name: str) -> Mapping[str, Any]:
        variant = {
            "VariantName": "all",
            "ModelName": name,
            "ServerlessConfig": {"MemorySizeInMB": MEMORY_MB, "MaxConcurrency": self.most},
        }
        return {"EndpointConfigName": name, "ProductionVariants": [variant], "Tags": self._tags}

    def predict(self, instances: Sequence[Any]) -> Mapping[str, Any]:
        """What the deployed model says of rows."""
        body = json.dumps({"instances": [*instances]}).encode()
        try:
            found = self.runtime.invoke_endpoint(
                EndpointName=self.name, ContentType="application/json", Accept="application/json", Body=body
            )
            said: Mapping[str, Any] = json.loads(found["Body"].read())
        except (ClientError, BotoCoreError) as error:
            raise refused(error) from error
        return said

    @property
    def _tags(self) -> list[Mapping[str, str]]:
        return [{"Key": "service", "Value": "fiso"}, {"Key": "fiso-stage", "Value": self.stage}]

    def _named(self, files: ModelFiles) -> str:
        digest = sha256(f"{self.image}\0{files.pointer.sha256}\0{self.most}".encode()).hexdigest()
        return f"fiso-{self.stage}-{digest[:16]}"

    def _make_model(self, files: ModelFiles, name: str) -> None:
        key = f"training/serving/{name}/model.tar.gz"
        try:
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=packed(files))
        except (ClientError, BotoCoreError) as error:
            raise refused(error) from error
        self._call("create_model", **self.model(name, f"s3://{self.bucket}/{key}"))

    def _configure(self, name: str) -> None:
        self._call("create_endpoint_config", **self.configuration(name))

    def _look(self, operation: str, **named: str) -> Look:
        return ABSENT if self._found(operation, **named) is None else AS_WANTED

    def _look_at_endpoint(self, configuration: str) -> Look:
        found = self._found("describe_endpoint", EndpointName=self.name)
        if found is None:
            return ABSENT
        tags = self._call("list_tags", ResourceArn=found["EndpointArn"]).get("Tags", [])
        if {"Key": "fiso-stage", "Value": self.stage} not in tags:
            return not_ours("it has no tag of this stage's")
        if found.get("EndpointConfigName") != configuration:
            return different(f"serves {found.get('EndpointConfigName', 'nothing')}")
        status = found["EndpointStatus"]
        return AS_WANTED if status == "InService" else different(f"{status} {found.get('FailureReason', '')}".strip())

    def _make_endpoint(self, configuration: str, say: Say) -> None:
        """A failed one can only be removed; one that is under way is waited for."""
        found = self._found("describe_endpoint", EndpointName=self.name)
        given = {"EndpointName": self.name, "EndpointConfigName": configuration}
        if found is not None and found["EndpointStatus"] == "Failed":
            self._gone("delete_endpoint", EndpointName=self.name)
            self._wait(say, until_gone=True)
            found = None
        if found is None:
            self._call("create_endpoint", **given, Tags=self._tags)
        elif found.get("EndpointConfigName") != configuration:
            self._wait(say)
            self._call("update_endpoint", **given)
        self._wait(say)

    def _wait(self, say: Say, *, until_gone: bool = False) -> None:
        waited, told = 0.0, ""
        while waited <= LONGEST_S:
            found = self._found("describe_endpoint", EndpointName=self.name)
            status = found["EndpointStatus"] if found is not None else "gone"
            if found is None or status == "InService":
                return
            if status == "Failed" and not until_gone:
                raise CommandError(f"{self.name}: {found.get('FailureReason', 'no reason given')}")
            if status != told:
                say(f"{self.name}: {status}")
                told = status
            self.pause(EVERY_S)
            waited += EVERY_S
        raise CommandError(f"{self.name} is still {told} after {LONGEST_S:.0f} s: run it again later")

    def _found(self, operation: str, **named: str) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = getattr(self.client, operation)(**named)
        except ClientError as error:
            if "could not find" in error.response["Error"].get("Message", "").lower():
                return None  # a ValidationException: SageMaker has no code of its own for it
            raise refused(error) from error
        except BotoCoreError as error:
            raise refused(error) from error
        return found

    def _call(self, operation: str, **given: Any) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = getattr(self.client, operation)(**given)
        except ClientError as error:
            if "already exist" not in error.response["Error"].get("Message", "").lower():
                raise refused(error) from error
            return {}  # sent twice: names follow from what is made
        except BotoCoreError as error:
            raise refused(error) from error
        return found

    def _gone(self, operation: str, **named: str) -> None:
        self._found(operation, **named)


def packed(files: ModelFiles) -> bytes:
    """The `model.tar.gz` that SageMaker unpacks into /opt/ml/model; the same bytes for the same model."""
    if files.pointer.manifest is None:
        raise CommandError(f"model {files.pointer.version} has no manifest, as of a release of before: train one")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in ((MODEL, files.artifact), (MANIFEST, files.pointer.manifest.text.encode())):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
