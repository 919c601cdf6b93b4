"""SageMaker: training jobs by botocore's model of the service, files in the stage's bucket.

Not tried against AWS itself: held against botocore's model, and run on a local server that starts the trainer as
SageMaker starts a container.
"""

import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from fiso.learning.job import LARGEST_MODEL, RESULTS
from fiso_cli.errors import CommandError
from fiso_cli.training.platforms.jobs import Job, Seen, State

MACHINE = "ml.m5.xlarge"
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
STATES = {"Completed": State.DONE, "Failed": State.FAILED, "Stopped": State.STOPPED}
OVERDUE = frozenset({"MaxRuntimeExceeded", "MaxWaitTimeExceeded"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SageMaker:
    """One stage's jobs. `role` is what a job may: read and write `training/*` in the bucket, write its log."""

    client: Any
    s3: Any
    logs: Any
    bucket: str
    role: str

    def look(self, name: str) -> Seen | None:
        try:
            found = self.client.describe_training_job(TrainingJobName=name)
        except ClientError as error:
            if "not found" in error.response["Error"].get("Message", "").lower():
                return None  # a ValidationException: SageMaker has no code of its own for it
            raise refused(error) from error
        except BotoCoreError as error:
            raise refused(error) from error
        state = STATES.get(found["TrainingJobStatus"], State.UNDER_WAY)
        word = found["SecondaryStatus"]
        if state is State.STOPPED and word in OVERDUE:
            return Seen(state=State.FAILED, word=word, reason=f"{word}: it was given too little time")
        return Seen(state=state, word=word, reason=found.get("FailureReason", ""))

    def submit(self, job: Job) -> None:
        try:
            for name, content in job.files.items():
                self.s3.put_object(Bucket=self.bucket, Key=f"training/{job.name}/input/{name}", Body=content)
            self.client.create_training_job(**self.request(job))
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceInUse":
                raise refused(error) from error
        except BotoCoreError as error:
            raise refused(error) from error

    def request(self, job: Job) -> dict[str, Any]:
        """What CreateTrainingJob is asked. On spot machines it may wait as long again for one."""
        limit = {"MaxRuntimeInSeconds": job.longest_s}
        if job.is_spot:
            limit["MaxWaitTimeInSeconds"] = job.longest_s * 2
        place = f"s3://{self.bucket}/training/{job.name}"
        return {
            "TrainingJobName": job.name,
            "AlgorithmSpecification": {
                "TrainingImage": job.image,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "latency_error", "Regex": "latency_error=([0-9.]+);"}],
            },
            "RoleArn": self.role,
            "InputDataConfig": [
                {
                    "ChannelName": "training",
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            # with the slash: a prefix is no folder, and would match a job whose name goes on
                            "S3Uri": f"{place}/input/",
                            "S3DataDistributionType": "FullyReplicated",
                        }
                    },
                }
            ],
            "OutputDataConfig": {"S3OutputPath": f"{place}/output"},
            "ResourceConfig": {"InstanceType": job.machine, "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": limit,
            "EnableManagedSpotTraining": job.is_spot,
            "EnableNetworkIsolation": True,
            "Tags": [{"Key": "service", "Value": "fiso"}],
        }

    def stop(self, name: str) -> None:
        try:
            self.client.stop_training_job(TrainingJobName=name)
        except (ClientError, BotoCoreError):
            return  # it has ended, or will by its own limit

    def last_lines(self, name: str, most: int) -> Sequence[str]:
        try:
            streams = self.logs.describe_log_streams(logGroupName=LOG_GROUP, logStreamNamePrefix=f"{name}/")
            lines: list[str] = []
            for stream in streams.get("logStreams", []):
                found = self.logs.get_log_events(
                    logGroupName=LOG_GROUP, logStreamName=stream["logStreamName"], limit=most, startFromHead=False
                )
                lines += [event["message"] for event in found.get("events", [])]
        except (ClientError, BotoCoreError) as error:
            return [f"its log cannot be read: {error}"]
        return lines[-most:]

    def results(self, name: str) -> Mapping[str, bytes]:
        """Of `model.tar.gz`, whose place the job itself tells."""
        try:
            found = self.client.describe_training_job(TrainingJobName=name)
            place = found["ModelArtifacts"]["S3ModelArtifacts"]
            key = place.removeprefix(f"s3://{self.bucket}/")
            if key == place or not key.startswith(f"training/{name}/"):
                raise CommandError(f"{name} names a model outside of its own folder: {place}")
            body = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise refused(error) from error
        return unpacked(body)


def unpacked(body: bytes) -> Mapping[str, bytes]:
    """The known files of an archive, none larger than a model may be; a link or a path is none of them."""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if name in RESULTS and member.isfile() and member.size <= LARGEST_MODEL:
                    source = archive.extractfile(member)
                    files[name] = source.read() if source is not None else b""
    except (tarfile.TarError, EOFError, OSError) as error:
        raise CommandError(f"the job's model.tar.gz is damaged: {error}") from error
    return files


def refused(error: Exception) -> CommandError:
    """What AWS answered, in a line."""
    if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ResourceLimitExceeded":
        said = error.response["Error"].get("Message", "")
        return CommandError(f"the account may not have such a machine: {said} Ask Service Quotas, or use --machine")
    return CommandError(f"SageMaker: {' '.join(str(error).split())[:300]}")
