"""Vertex AI: custom jobs by Google's discovery document, files in a bucket of the project's.

A custom job's id is Google's to give, so a job is found again by its display name; of two of one name, which a request
that was sent twice makes, the older one counts and the other is cancelled. Not tried against Google itself: held
against the discovery document, and run on a local server that starts the trainer as Vertex AI starts a container.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fiso.learning.job import RESULTS
from fiso_cli.clouds.google.client import Document, Google, Refused
from fiso_cli.training.platforms.jobs import Job, Seen, State

MACHINE = "n1-standard-4"
"""The brief's, as are the endpoint's n1-standard-2 and its 1 to 3 replicas."""
REGION = "us-central1"
STATES = {
    "JOB_STATE_SUCCEEDED": State.DONE,
    "JOB_STATE_FAILED": State.FAILED,
    "JOB_STATE_EXPIRED": State.FAILED,
    "JOB_STATE_PARTIALLY_SUCCEEDED": State.FAILED,
    "JOB_STATE_CANCELLED": State.STOPPED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vertex:
    """One project's jobs in a region."""

    google: Google
    bucket: str
    region: str = REGION

    @property
    def _api(self) -> str:
        return f"{self.region}-aiplatform"

    @property
    def _parent(self) -> str:
        return f"projects/{self.google.project}/locations/{self.region}"

    def look(self, name: str) -> Seen | None:
        jobs = self._jobs(name)
        for other in jobs[1:]:
            if STATES.get(other.get("state", "")) is None:
                self._cancel(other["name"])
        if not jobs:
            return None
        word = jobs[0].get("state", "JOB_STATE_QUEUED")
        reason = jobs[0].get("error", {}).get("message", "")
        return Seen(
            state=STATES.get(word, State.UNDER_WAY), word=word.removeprefix("JOB_STATE_").lower(), reason=reason
        )

    def submit(self, job: Job) -> None:
        for name, content in job.files.items():
            self._put(f"training/{job.name}/input/{name}", content)
        body = self.request(job)
        self.google.call(
            self._api, lambda api: api.projects().locations().customJobs().create(parent=self._parent, body=body)
        )

    def request(self, job: Job) -> Document:
        """The custom job. Vertex AI tries a failed worker again by itself unless it is told not to."""
        place = f"gs://{self.bucket}/training/{job.name}"
        container = {"imageUri": job.image, "args": ["vertex", "--training-data", f"{place}/input"]}
        pool = {"machineSpec": {"machineType": job.machine}, "replicaCount": "1", "containerSpec": container}
        return {
            "displayName": job.name,
            "labels": {"service": "fiso"},
            "jobSpec": {
                "workerPoolSpecs": [pool],
                "baseOutputDirectory": {"outputUriPrefix": f"{place}/output"},
                "scheduling": {
                    "timeout": f"{job.longest_s}s",
                    "strategy": "SPOT" if job.is_spot else "STANDARD",
                    "disableRetries": not job.is_spot,
                },
            },
        }

    def stop(self, name: str) -> None:
        for each in self._jobs(name):
            self._cancel(each["name"])

    def last_lines(self, name: str, most: int) -> Sequence[str]:
        """Of Cloud Logging, where a job's lines have its id."""
        ids = [each["name"].rpartition("/")[2] for each in self._jobs(name)[:1]]
        if not ids:
            return []
        wanted = f'resource.type="ml_job" AND resource.labels.job_id="{ids[0]}"'
        body = {
            "resourceNames": [f"projects/{self.google.project}"],
            "filter": wanted,
            "orderBy": "timestamp desc",
            "pageSize": most,
        }
        try:
            found = self.google.call("logging", lambda api: api.entries().list(body=body))
        except Refused as refused:
            return [f"its log cannot be read: {refused}"]
        lines = [_line(entry) for entry in found.get("entries", [])]
        return lines[::-1]

    def results(self, name: str) -> Mapping[str, bytes]:
        """What stands in the model directory, which is `model/` of the base output directory."""
        found: dict[str, bytes] = {}
        for each in RESULTS:
            content = self._get(f"training/{name}/output/model/{each}")
            if content is not None:
                found[each] = content
        return found

    def _jobs(self, name: str) -> list[Document]:
        """The jobs of a name, oldest first."""
        wanted = f'displayName="{name}"'
        found = self.google.pages(
            self._api,
            lambda api, token: (
                api.projects().locations().customJobs().list(parent=self._parent, filter=wanted, pageToken=token)
            ),
            "customJobs",
        )
        return sorted((each for each in found if each.get("displayName") == name), key=_age)

    def _cancel(self, full_name: str) -> None:
        try:
            self.google.call(self._api, lambda api: api.projects().locations().customJobs().cancel(name=full_name))
        except Refused as refused:
            if refused.code not in {400, 404}:  # it has ended meanwhile
                raise

    def _put(self, name: str, content: bytes) -> None:
        try:
            self.google.upload(self.bucket, name, content)
        except Refused as refused:
            if refused.code != 412:  # it stands there already: its name follows from its content
                raise

    def _get(self, name: str) -> bytes | None:
        return self.google.download(self.bucket, name)


def _age(job: Document) -> tuple[str, str]:
    return job.get("createTime", ""), job["name"]


def _line(entry: Document) -> str:
    return str(entry.get("textPayload") or entry.get("jsonPayload", {}).get("message", ""))
