"""Azure Machine Learning: command jobs by Resource Manager's types, files in the workspace's own blob container.

Cluster and environment are made where they are missing; the workspace, which needs a key vault and a storage account
of somebody's, is not. Not tried against Azure itself: held against the vendor's types and SDK models, and run on a
local server that starts the trainer as Azure Machine Learning starts a container.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from fiso.adapters.aws.client import AwsError
from fiso.adapters.objects.clients import AzureObjects
from fiso.learning.job import LARGEST_MODEL, RESULTS
from fiso_cli.clouds.azure.arm import Arm, Document
from fiso_cli.clouds.azure.refusals import NEEDS_EXTRA
from fiso_cli.errors import CommandError
from fiso_cli.training.platforms.jobs import Job, Seen, State
from fiso_client.core.failures import ProviderError

VERSION = "2024-10-01"
KIND = "Microsoft.MachineLearningServices/workspaces"
WORKSPACE, CLUSTER, ENVIRONMENT = "fiso-ml-workspace", "fiso-compute-cluster", "fiso-sklearn-env"
"""The brief's."""
UPLOAD_S = 600.0
MACHINE = "Standard_DS3_v2"
STATES = {
    "Completed": State.DONE,
    "Failed": State.FAILED,
    "NotResponding": State.FAILED,
    "Canceled": State.STOPPED,
}
COMMAND = (
    "python -m functions.trainer azureml"
    " --training-data ${{inputs.training_data}} --model-output ${{outputs.model_output}}"
)
ARTIFACTS = "azureml"
"""The container of a workspace's storage where runs' own files are (Azure/azureml-examples#1123 shows one)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """One workspace: its id and region, and the blob container of its default datastore. `blobs` has S3's shape."""

    arm: Arm
    id: str
    region: str
    container: str
    blobs: Any

    def path(self, kind: str, name: str) -> str:
        return f"{self.id}/{kind}/{name}"


def opened(arm: Arm, identity: str, blobs_of: Callable[[str], Any]) -> Workspace:
    """The workspace of an id; `blobs_of` makes a client from an account's URL. `CommandError` where there is none."""
    found = arm.find(identity, VERSION)
    if found is None:
        group, name = identity.split("/")[4], identity.rpartition("/")[2]
        raise CommandError(
            f"no workspace {name} in {group}: az ml workspace create --name {name} --resource-group {group}"
        )
    store = arm.call("GET", f"{identity}/datastores/workspaceblobstore", VERSION)["properties"]
    host = f"{store['accountName']}.blob.{store.get('endpoint') or 'core.windows.net'}"
    return Workspace(
        arm=arm,
        id=identity,
        region=found["location"],
        container=store["containerName"],
        blobs=blobs_of(f"https://{host}"),
    )


def blobs(account: str) -> AzureObjects:
    """The account's blobs, as whoever `az login` says; the token is asked for anew, since a job may outlive it."""
    from fiso_client.core.transport import HttpTransport

    try:
        from azure.identity import DefaultAzureCredential
    except ModuleNotFoundError as error:
        raise CommandError(NEEDS_EXTRA) from error
    credential = DefaultAzureCredential(exclude_interactive_browser_credential=True)
    return AzureObjects(
        HttpTransport(largest=2 * LARGEST_MODEL),
        lambda: str(credential.get_token("https://storage.azure.com/.default").token),
        url=account,
        timeout_s=UPLOAD_S,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureML:
    """One workspace's jobs. A job's name is ours to give, so that sent twice it is one."""

    workspace: Workspace

    def look(self, name: str) -> Seen | None:
        found = self.workspace.arm.find(self.workspace.path("jobs", name), VERSION)
        if found is None:
            return None
        word = found["properties"].get("status", "NotStarted")
        return Seen(state=STATES.get(word, State.UNDER_WAY), word=word, reason="")

    def submit(self, job: Job) -> None:
        for name, content in job.files.items():
            self._put(f"training/{job.name}/input/{name}", content)
        self._ensure_cluster(job)
        self._ensure_environment(job)
        try:
            self._call("PUT", self.workspace.path("jobs", job.name), self.request(job))
        except CommandError:
            # A request whose answer was lost was sent again: a job that is there cannot be put over.
            if self.look(job.name) is None:
                raise

    def cluster(self, job: Job) -> Document:
        """A cluster that costs nothing while no job is there: from none to one machine, gone two minutes later."""
        return {
            "location": self.workspace.region,
            "tags": {"service": "fiso"},
            "properties": {
                "computeType": "AmlCompute",
                "properties": {
                    "osType": "Linux",
                    "vmSize": job.machine,
                    "vmPriority": "LowPriority" if job.is_spot else "Dedicated",
                    "scaleSettings": {
                        "minNodeCount": 0,
                        "maxNodeCount": 1,
                        "nodeIdleTimeBeforeScaleDown": "PT120S",
                    },
                    "remoteLoginPortPublicAccess": "Disabled",
                },
            },
        }

    def request(self, job: Job) -> Document:
        """The job. A low-priority machine that is taken away has the job begin anew by itself."""
        place = f"azureml://datastores/workspaceblobstore/paths/training/{job.name}"
        return {
            "properties": {
                "jobType": "Command",
                "displayName": job.name,
                "experimentName": "fiso-prediction-training",
                "tags": {"service": "fiso"},
                "command": COMMAND,
                "environmentId": self.workspace.path("environments", environment_of(job)),
                "computeId": self.workspace.path("computes", cluster_of(job)),
                "inputs": {
                    "training_data": {"jobInputType": "uri_folder", "mode": "Download", "uri": f"{place}/input/"}
                },
                "outputs": {
                    "model_output": {"jobOutputType": "uri_folder", "mode": "Upload", "uri": f"{place}/output/"}
                },
                "limits": {"jobLimitsType": "Command", "timeout": f"PT{job.longest_s}S"},
                "resources": {"instanceCount": 1},
            }
        }

    def stop(self, name: str) -> None:
        try:
            self._call("POST", f"{self.workspace.path('jobs', name)}/cancel")
        except CommandError:
            return  # it has ended, or will by its own limit

    def last_lines(self, name: str, most: int) -> Sequence[str]:
        """Of the run's log, which the workspace's storage has; Resource Manager tells no reason and no lines."""
        try:
            content = self._get(ARTIFACTS, f"ExperimentRun/dcid.{name}/user_logs/std_log.txt")
        except CommandError as error:
            return [f"its log cannot be read: {error}"]
        return (content or b"").decode(errors="replace").splitlines()[-most:]

    def results(self, name: str) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        for each in RESULTS:
            content = self._get(self.workspace.container, f"training/{name}/output/{each}")
            if content is not None:
                found[each] = content[: LARGEST_MODEL + 1]
        return found

    def _ensure_cluster(self, job: Job) -> None:
        """One that could not be made stays and says so: it is put again. What it is never changes."""
        path, wanted = self.workspace.path("computes", cluster_of(job)), self.cluster(job)
        found = (self.workspace.arm.find(path, VERSION) or {}).get("properties", {})
        if not found or found.get("provisioningState") == "Failed":
            self._call("PUT", path, wanted)
            return
        has = found.get("properties") or {}
        differs = [
            f"{name} {has.get(name)}, not {value}"
            for name, value in wanted["properties"]["properties"].items()
            if name in {"vmSize", "vmPriority"} and str(has.get(name, "")).lower() != str(value).lower()
        ]
        if differs:
            raise CommandError(f"cluster {cluster_of(job)} has {differs[0]}: --machine of its kind, or remove it")

    def _ensure_environment(self, job: Job) -> None:
        path = self.workspace.path("environments", environment_of(job))
        if self.workspace.arm.find(path, VERSION) is None:
            self._call("PUT", path, environment(job))

    def _call(self, method: str, path: str, body: Document | None = None) -> Document:
        return self.workspace.arm.call(method, path, VERSION, body)

    def _put(self, name: str, content: bytes) -> None:
        try:
            self.workspace.blobs.put_object(Bucket=self.workspace.container, Key=name, Body=content)
        except (AwsError, ProviderError) as error:
            raise _refused(error) from error

    def _get(self, container: str, name: str) -> bytes | None:
        try:
            content: bytes = self.workspace.blobs.get_object(Bucket=container, Key=name)["Body"].read()
        except AwsError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise _refused(error) from error
        except ProviderError as error:
            raise _refused(error) from error
        return content


def cluster_of(job: Job) -> str:
    """The brief's for the default machine; another for another, since a cluster's machine and priority never change."""
    if job.machine.lower() == MACHINE.lower() and not job.is_spot:
        return CLUSTER
    kind = f"{job.machine.lower()} {'spot' if job.is_spot else ''}"
    return f"fiso-compute-{sha256(kind.encode()).hexdigest()[:8]}"


def environment_of(job: Job) -> str:
    """A version of an environment never changes, so it follows from the image."""
    return f"{ENVIRONMENT}/versions/{sha256(job.image.encode()).hexdigest()[:16]}"


def environment(job: Job) -> Document:
    return {"properties": {"image": job.image, "osType": "Linux"}}


def _refused(error: Exception) -> CommandError:
    if isinstance(error, AwsError) and error.response["Error"]["Code"] == "HTTP403":
        return CommandError(
            "the workspace's storage refuses: az role assignment create --role 'Storage Blob Data Contributor'"
        )
    return CommandError(f"the workspace's storage: {' '.join(str(error).split())[:300]}")
