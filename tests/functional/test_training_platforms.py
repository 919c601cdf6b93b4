"""Training platforms: an order is followed to its end, resumed, limited, and its model checked, on each alike."""

import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from typer.testing import CliRunner

from fiso.adapters.aws.candidates import S3Candidates
from fiso.adapters.objects.clients import AzureObjects
from fiso.learning import job as files_of
from fiso.learning import synthetic
from fiso.learning.training import TrainingSettings, train
from fiso_cli.clouds.google.client import Google
from fiso_cli.errors import CommandError
from fiso_cli.main import app
from fiso_cli.training.platforms import azureml, jobs
from fiso_cli.training.platforms.jobs import Follower, Job, Platform, State
from fiso_cli.training.platforms.sagemaker import SageMaker, unpacked
from fiso_cli.training.platforms.vertex import Vertex
from fiso_client.core.transport import HttpTransport
from localcloud import sagemaker as local_sagemaker
from localcloud.azure_cloud.faults import Fault as AzureFault
from localcloud.azure_cloud.machine_learning import STORE
from localcloud.azure_cloud.world import World as AzureWorld
from localcloud.drill.object_store import Server as BlobServer
from localcloud.google_cloud.server import GoogleCloud
from localcloud.google_cloud.world import Fault
from localcloud.google_cloud.world import World as GoogleWorld
from tests.builders import NOW
from tests.functional.clouds.azure_world import azure
from tests.memory_s3 import MemoryS3

ROWS = synthetic.generate(300)
SETTINGS = TrainingSettings(version_prefix="20261130T000000Z", trained_at=NOW, parent="m1", with_quantiles=False)
ROLE = "arn:aws:iam::000000000000:role/fiso-prod-training"


@dataclass(slots=True, kw_only=True)
class Rig:
    """A platform, its local server's world, and what was said."""

    platform: Platform
    world: Any
    machine: str
    jobs_made: Callable[[], int]
    corrupt: Callable[[str], None]
    said: list[str] = field(default_factory=list)

    def job(self, **changes: Any) -> Job:
        files = files_of.packed(ROWS, SETTINGS)
        name = jobs.named(files, image="image", machine=self.machine)
        return replace(Job(name=name, files=files, image="image", machine=self.machine, longest_s=300), **changes)

    def follower(self, platform: Platform | None = None) -> Follower:
        return Follower(platform=platform or self.platform, say=self.said.append, sleep=lambda seconds: None)


def serving(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield
    server.shutdown()
    server.server_close()


def on_sagemaker(folder: Path) -> Iterator[Rig]:
    s3 = MemoryS3()
    world = local_sagemaker.World(s3=s3, folder=folder)
    server = local_sagemaker.SageMakerServer(world)
    given: Any = {"region_name": "us-east-1", "endpoint_url": server.url, "aws_access_key_id": "x"}
    given |= {"aws_secret_access_key": "x", "config": Config(retries={"total_max_attempts": 2})}
    client, logs = boto3.client("sagemaker", **given), boto3.client("logs", **given)
    platform = SageMaker(client=client, s3=s3, logs=logs, bucket="bucket", role=ROLE)

    def corrupt(name: str) -> None:
        key = f"training/{name}/output/{name}/output/model.tar.gz"
        s3.put_object(Bucket="bucket", Key=key, Body=s3.objects[key][:100])

    for _ in serving(server):
        yield Rig(
            platform=platform, world=world, machine="ml.m5.xlarge", jobs_made=lambda: world.created, corrupt=corrupt
        )


def on_vertex(folder: Path) -> Iterator[Rig]:
    world = GoogleWorld(folder=folder)
    world.enabled["fiso-local"] = {"aiplatform.googleapis.com", "logging.googleapis.com"}
    world.things["bucket/fiso-training"] = {"name": "fiso-training", "projectNumber": "123456789012"}
    server = GoogleCloud(world)
    google = Google("fiso-local", endpoint=server.url, sleep=lambda seconds: None)

    def made() -> int:
        return sum(name.startswith("vertex/") for name in world.things)

    def corrupt(name: str) -> None:
        key = f"object/fiso-training/training/{name}/output/model/model.joblib"
        world.objects[key] = world.objects[key][:100]

    for _ in serving(server):
        platform = Vertex(google=google, bucket="fiso-training")
        yield Rig(platform=platform, world=world, machine="n1-standard-4", jobs_made=made, corrupt=corrupt)
        google.close()


def on_azureml(folder: Path) -> Iterator[Rig]:
    with azure(folder, b"", copies=0) as site:
        identity = site.group.resource(azureml.KIND, azureml.WORKSPACE)
        site.arm.call("PUT", site.group.id, "2024-11-01", {"location": "eastus"})
        made = {"location": "eastus", "properties": {"storageAccount": "s", "keyVault": "k"}}
        site.arm.call("PUT", identity, azureml.VERSION, made)
        store, transport = BlobServer(objects=site.world.blobs), HttpTransport()

        def blobs(url: str) -> AzureObjects:
            assert url == "https://fisoml.blob.core.windows.net"
            return AzureObjects(transport, lambda: "local", url=store.url)

        def jobs_made() -> int:
            return sum("/jobs/" in name for name in site.world.resources)

        def corrupt(name: str) -> None:
            place = (STORE, f"training/{name}/output/model.joblib")
            site.world.blobs.put(place, site.world.blobs.stored[place][0][:100], absent=False, generation=None)

        platform = azureml.AzureML(workspace=azureml.opened(site.arm, identity, blobs))
        for _ in serving(store):
            yield Rig(
                platform=platform, world=site.world, machine=azureml.MACHINE, jobs_made=jobs_made, corrupt=corrupt
            )
        transport.close()


PLATFORMS = {"sagemaker": on_sagemaker, "azureml": on_azureml, "vertex": on_vertex}


@pytest.fixture(params=PLATFORMS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    yield from PLATFORMS[request.param](tmp_path)


def test_an_order_is_followed_to_a_verified_model_and_asked_again_it_is_not_paid_again(rig: Rig) -> None:
    run = rig.follower().run(rig.job())
    assert run.files.artifact == train(ROWS, SETTINGS).files.artifact, "the same bytes as trained here"
    assert not run.resumed
    assert run.name.startswith("fiso-prediction-training-")
    assert len(run.name) <= 63
    assert len(rig.said) >= 3, rig.said
    again = rig.follower().run(rig.job())
    assert (again.resumed, again.files, rig.jobs_made()) == (True, run.files, 1)


class Killed(BaseException):
    """The command's process dies."""


@dataclass(frozen=True, slots=True)
class Dying:
    """A platform whose user dies at a call."""

    inner: Platform
    left: list[int]

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any) -> Any:
            self.left[0] -= 1
            if self.left[0] < 0:
                raise Killed
            found = getattr(self.inner, name)(*given)
            if self.left[0] == 0:
                raise Killed
            return found

        return call


def test_killed_after_each_call_the_next_command_finds_its_job_again(rig: Rig) -> None:
    for calls in range(1, 6):
        with suppress(Killed):
            rig.follower(Dying(rig.platform, [calls])).run(rig.job())
    run = rig.follower().run(rig.job())
    assert run.resumed
    assert rig.jobs_made() == 1


def test_a_failure_is_told_with_its_last_lines_and_the_next_command_takes_the_next_number(rig: Rig) -> None:
    few = files_of.packed(ROWS.part(0, 40), SETTINGS)
    job = rig.job(files=few, name=jobs.named(few, image="image", machine=rig.machine))
    for number in (1, 2):
        with pytest.raises(CommandError, match=f"-{number} failed") as failed:
            rig.follower().run(job)
        assert "fiso trainer: too few answered rows" in str(failed.value)
    assert rig.jobs_made() == 2


def test_what_came_back_damaged_is_not_registered(rig: Rig) -> None:
    run = rig.follower().run(rig.job())
    rig.corrupt(run.name)
    with pytest.raises(CommandError) as refused:
        rig.follower().run(rig.job())
    assert "\n" not in str(refused.value)


def test_a_job_that_takes_too_long_is_stopped(rig: Rig) -> None:
    moments = iter([0.0, 10_000.0])
    follower = replace(rig.follower(), clock=lambda: next(moments))
    with pytest.raises(CommandError, match="not done within 300 s, stopped"):
        follower.run(rig.job())
    seen = rig.platform.look(f"{rig.job().name}-1")
    assert seen is not None
    assert seen.state is State.STOPPED


def test_a_stopped_one_is_not_found_again(rig: Rig) -> None:
    rig.platform.submit(rig.job(name=f"{rig.job().name}-1"))
    rig.platform.stop(f"{rig.job().name}-1")
    rig.platform.stop(f"{rig.job().name}-1")
    assert rig.follower().run(rig.job()).name.endswith("-2")


def test_submitted_twice_it_is_one(rig: Rig) -> None:
    job = rig.job(name=f"{rig.job().name}-1")
    rig.platform.submit(job)
    rig.platform.submit(job)
    run = rig.follower().run(rig.job())
    assert run.name == job.name
    assert rig.follower().run(rig.job()).files == run.files


def test_spot_machines_may_be_taken_away(rig: Rig) -> None:
    if isinstance(rig.world, local_sagemaker.World):
        rig.world.interrupted = 2
    if isinstance(rig.world, AzureWorld):
        rig.world.preempted = 2
    run = rig.follower().run(rig.job(is_spot=True))
    assert run.files.artifact == train(ROWS, SETTINGS).files.artifact


def test_refusals_are_one_line(tmp_path: Path) -> None:
    for rig in on_sagemaker(tmp_path):
        rig.world.refusals["CreateTrainingJob"] = ["ResourceLimitExceeded"]
        with pytest.raises(CommandError, match="the account may not have such a machine"):
            rig.follower().run(rig.job())
        with pytest.raises(CommandError, match="enum value set"):
            rig.follower().run(rig.job(machine="ml.none"))
    for rig in on_vertex(tmp_path):
        rig.world.denied.add("aiplatform.customJobs.create")
        with pytest.raises(CommandError, match=r"aiplatform\.customJobs\.create is missing"):
            rig.follower().run(rig.job())
        rig.world.denied.clear()
        rig.world.faults.append(
            Fault(method="aiplatform.projects.locations.customJobs.create", dropped=True, after=True)
        )
        run = rig.follower().run(rig.job())
        assert rig.follower().run(rig.job()).files == run.files, "sent twice, the older one counts"


def test_azures_refusals_are_one_line_and_a_request_that_was_sent_twice_is_one_job(tmp_path: Path) -> None:
    for rig in on_azureml(tmp_path):
        kind = f"{azureml.KIND}/computes"
        rig.world.faults.resources[kind] = ("ClusterCoreQuotaReached", "Operation results in exceeding quota", 1)
        with pytest.raises(CommandError, match="ClusterCoreQuotaReached"):
            rig.follower().run(rig.job())
        rig.world.faults.denied.add(f"{azureml.KIND}/jobs/write")
        with pytest.raises(CommandError, match="az role assignment create"):
            rig.follower().run(rig.job())
        rig.world.faults.denied.clear()
        rig.world.faults.requests.append(AzureFault(match="PUT .*/jobs/", status=500, is_after=True))
        rig.follower().run(rig.job())
        assert rig.jobs_made() == 1
        names = {key.rpartition("/")[2] for key in rig.world.resources if "/computes/" in key}
        assert names == {"fiso-compute-cluster"}
        (cluster,) = (each for key, each in rig.world.resources.items() if "/computes/" in key)
        cluster["properties"]["properties"]["vmSize"] = "Standard_NC6"
        with pytest.raises(
            CommandError, match="cluster fiso-compute-cluster has vmSize Standard_NC6, not Standard_DS3_v2"
        ):
            rig.follower().run(rig.job(name="fiso-prediction-training-other"))


def test_a_workspace_that_is_none_is_told_with_what_makes_it(tmp_path: Path) -> None:
    with azure(tmp_path, b"", copies=0) as site:
        site.arm.call("PUT", site.group.id, "2024-11-01", {"location": "eastus"})
        with pytest.raises(CommandError, match="az ml workspace create --name mine --resource-group fiso-prod"):
            azureml.opened(site.arm, site.group.resource(azureml.KIND, "mine"), lambda url: None)


@pytest.mark.parametrize(
    ("most_usd", "hourly_usd", "seconds"), [(None, None, 3600), (0.5, 1.0, 1800), (9.0, 1.0, 3600), (1.0, 4.0, 900)]
)
def test_money_limits_time(most_usd: float | None, hourly_usd: float | None, seconds: int) -> None:
    assert jobs.limited(3600, most_usd=most_usd, hourly_usd=hourly_usd) == seconds


@pytest.mark.parametrize(("most_usd", "hourly_usd"), [(1.0, None), (1.0, 0.0), (0.001, 1.0)])
def test_money_that_pays_nothing_is_refused(most_usd: float, hourly_usd: float | None) -> None:
    with pytest.raises(CommandError):
        jobs.limited(3600, most_usd=most_usd, hourly_usd=hourly_usd)


def test_another_image_or_machine_or_row_is_another_job() -> None:
    files = files_of.packed(ROWS, SETTINGS)
    other = files_of.packed(ROWS, replace(SETTINGS, parent="m2"))
    asked = [(files, "a", "m"), (files, "b", "m"), (files, "a", "n"), (other, "a", "m")]
    names = [jobs.named(given, image=image, machine=machine) for given, image, machine in asked]
    assert len(set(names)) == 4


def test_an_archive_that_is_none_is_refused() -> None:
    for body in (b"", b"\x1f\x8b\x08", b"no archive"):
        with pytest.raises(CommandError, match="damaged"):
            unpacked(body)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, kind in (("../model.joblib", tarfile.REGTYPE), ("/model.joblib", tarfile.REGTYPE),
                           ("model.joblib", tarfile.SYMTYPE), ("metrics.json", tarfile.REGTYPE)):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    assert unpacked(packed.getvalue()) == {"metrics.json": b""}


def test_a_jobs_rows_are_no_other_jobs(tmp_path: Path) -> None:
    for rig in on_sagemaker(tmp_path):
        assert isinstance(rig.platform, SageMaker)
        uris = [
            channel["DataSource"]["S3DataSource"]["S3Uri"]
            for channel in rig.platform.request(rig.job())["InputDataConfig"]
        ]
        assert uris == [f"s3://bucket/training/{rig.job().name}/input/"]


def test_a_candidate_is_what_came_back_and_nobody_has_admitted_it() -> None:
    files, candidates = train(ROWS, SETTINGS).files, S3Candidates(MemoryS3(), "bucket")
    for _ in range(2):
        candidates.put(files)
    kept = candidates.get(files.pointer.version, admitted=False)
    assert kept is not None
    assert (replace(kept.pointer, origin=files.pointer.origin), kept.artifact) == (files.pointer, files.artifact)
    assert candidates.get(files.pointer.version) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--on", "ray", "--image", "i"], "--on must be one of sagemaker, azureml, vertex"),
        (["--on", "azureml", "--image", "i", "--stage", "prod"], "--subscription"),
        (["--on", "sagemaker"], "--image is needed"),
        (["--on", "sagemaker", "--image", "i"], "--role is needed"),
        (["--on", "vertex", "--image", "i"], "--project and --bucket are needed"),
        (["--on", "vertex", "--image", "i", "--most-usd", "1"], "--most-usd needs --hourly-usd"),
        (["--on", "vertex", "--image", "i", "--family", "ray"], "--family must be one of"),
    ],
)
def test_what_the_command_is_not_told_is_one_line(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["train", *arguments])
    assert result.exit_code != 0
    assert said in " ".join(result.output.split())
