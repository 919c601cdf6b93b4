"""An order: a stage's rows, trained on a platform, and the model put among the stage's candidates. Whoever promotes
checks it again and signs it; nothing serves it before that.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from fiso.adapters.aws.candidates import S3Candidates
from fiso.adapters.aws.models import S3ModelStore
from fiso.domain.archive import Extent
from fiso.domain.errors import ModelRefused
from fiso.learning import dataset, evaluate, synthetic
from fiso.learning import job as files_of
from fiso.learning.dataset import DataSet
from fiso.learning.train import Family
from fiso.learning.training import TrainingSettings
from fiso.services.maintenance.hand_over import MOST_ROWS
from fiso_cli.clouds.azure import command as azure
from fiso_cli.clouds.google.client import Google
from fiso_cli.errors import BadInput, CommandError
from fiso_cli.rendering import Output, progress
from fiso_cli.stage import Stage
from fiso_cli.training.platforms import azureml, jobs, sagemaker, vertex
from fiso_cli.training.platforms.jobs import Follower, Job, Platform
from fiso_cli.what_if.records import archived

LOOKBACK_DAYS = 30
MACHINES = {"sagemaker": sagemaker.MACHINE, "azureml": azureml.MACHINE, "vertex": vertex.MACHINE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a platform's jobs are: `role` is SageMaker's, the subscription and workspace Azure's, the rest Google's."""

    role: str | None = None
    subscription: str = ""
    workspace: str = azureml.WORKSPACE
    project: str | None = None
    region: str | None = None
    bucket: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a job may take, and what it may cost at most by what its machine costs an hour."""

    longest_s: int = 3600
    most_usd: float | None = None
    hourly_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line said. `most_rows` None: as many as a hand-over means."""

    on: str
    stage: str
    image: str
    family: str
    machine: str | None = None
    is_spot: bool = False
    limits: Limits = Limits()
    place: Place = Place()
    is_synthetic: bool = False
    most_rows: int | None = None


def carry_out(wanted: Wanted, *, now: datetime) -> Output:
    """Train there, verify, put among the candidates, tell."""
    if wanted.on not in MACHINES:
        raise BadInput(f"--on must be one of {', '.join(MACHINES)}, not {wanted.on!r}")
    stage, limits = Stage.named(wanted.stage), wanted.limits
    machine = wanted.machine or MACHINES[wanted.on]
    longest_s = jobs.limited(limits.longest_s, most_usd=limits.most_usd, hourly_usd=limits.hourly_usd)
    platform = _platform(wanted, stage)
    rows, settings = _rows(wanted, stage, now)
    files = files_of.packed(rows, settings)
    job = Job(
        name=jobs.named(files, image=wanted.image, machine=machine),
        files=files,
        image=wanted.image,
        machine=machine,
        longest_s=longest_s,
        is_spot=wanted.is_spot,
    )
    with progress(f"{len(rows):,} rows on {wanted.on}") as bar:
        run = Follower(platform=platform, say=bar.say).run(job)
    S3Candidates(stage.client("s3"), stage.bucket).put(run.files)
    document = {
        "job": run.name,
        "resumed": run.resumed,
        "version": run.files.pointer.version,
        "sha256": run.files.pointer.sha256,
        "rows": len(rows),
        "candidate": f"s3://{stage.bucket}/candidates/{run.files.pointer.version}/",
    }
    shown = [
        f"{run.name}: {'found again, ' if run.resumed else ''}done, {len(rows):,} rows",
        f"candidate {run.files.pointer.version}: verified, not promoted",
    ]
    return Output(document=document, shown=shown)


def _platform(wanted: Wanted, stage: Stage) -> Platform:
    if wanted.on == "sagemaker":
        if not wanted.place.role:
            raise BadInput("--role is needed: the ARN of the role that the job runs as (docs/learning.md)")
        clients = {name: stage.client(name) for name in ("sagemaker", "s3", "logs")}
        return sagemaker.SageMaker(
            client=clients["sagemaker"],
            s3=clients["s3"],
            logs=clients["logs"],
            bucket=stage.bucket,
            role=wanted.place.role,
        )
    if wanted.on == "azureml":
        return azureml.AzureML(workspace=_workspace(wanted))
    if not wanted.place.project or not wanted.place.bucket:
        raise BadInput("--project and --bucket are needed: Google's project, and a bucket in the job's region")
    google = Google(wanted.place.project)
    return vertex.Vertex(google=google, bucket=wanted.place.bucket, region=wanted.place.region or vertex.REGION)


def _workspace(wanted: Wanted) -> azureml.Workspace:
    group, arm = azure.connected(wanted.stage, wanted.place.subscription)
    return azureml.opened(arm, group.resource(azureml.KIND, wanted.place.workspace), azureml.blobs)


def _rows(wanted: Wanted, stage: Stage, now: datetime) -> tuple[DataSet, TrainingSettings]:
    """Up to midnight: a command that is run again on the same day means the same job."""
    until = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    family = Family(wanted.family)
    if wanted.is_synthetic:
        rows = synthetic.generate(wanted.most_rows or synthetic.ROWS)
        return rows, TrainingSettings(families=(family,), version_prefix=f"synthetic-{synthetic.SEED}")
    found = archived(
        stage, until - timedelta(days=LOOKBACK_DAYS), now=now, most=wanted.most_rows or MOST_ROWS, extent=Extent()
    )
    rows = dataset.capped(dataset.build(record for record in found if record.timestamp < until))
    refusal = evaluate.refusal_of_split(dataset.split(rows))
    if refusal:
        raise CommandError(f"nothing is submitted: {refusal}")
    with stage.wrapped_errors():
        parent = _champion(stage)
    return rows, TrainingSettings(
        families=(family,), version_prefix=f"{until:%Y%m%dT%H%M%SZ}", trained_at=until, parent=parent
    )


def _champion(stage: Stage) -> str | None:
    try:
        pointer = S3ModelStore(stage.client("s3"), stage.bucket).champion()
    except ModelRefused:
        return None
    return pointer.version if pointer is not None else None
