"""Vertex AI: custom jobs, one look further with each list, and the trainer run when one is under way.

Cloud Storage is mounted in a folder for it, as the platform mounts it at /gcs. Of the logs there is what the job wrote.
"""

import re
from pathlib import Path

from localcloud import training_container
from localcloud.google_cloud.handlers import Call, answers
from localcloud.google_cloud.world import Document, Refused, World, not_found

_JOBS = "aiplatform.projects.locations.customJobs"
_OVER = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED")
NEXT = {"JOB_STATE_QUEUED": "JOB_STATE_PENDING", "JOB_STATE_PENDING": "JOB_STATE_RUNNING"}


@answers(f"{_JOBS}.create", "aiplatform.customJobs.create")
def create(call: Call) -> Document:
    call.project  # noqa: B018  refuses an unknown one
    spec = call.body["jobSpec"]
    (pool,) = spec["workerPoolSpecs"]
    machine = pool["machineSpec"]["machineType"]
    if not re.fullmatch(r"(n1|n2|e2|c2)-(standard|highmem|highcpu)-\d+", machine):
        raise Refused(400, "INVALID_ARGUMENT", f"Machine type {machine} is not supported.")
    if not spec["baseOutputDirectory"]["outputUriPrefix"].startswith("gs://"):
        raise Refused(400, "INVALID_ARGUMENT", "output_uri_prefix must be a Cloud Storage URI.")
    number = next(call.world.numbers)
    name = f"{call.name('parent')}/customJobs/{number}"
    made = call.world.put(
        f"vertex/{name}",
        {
            **call.body,
            "name": name,
            "state": "JOB_STATE_QUEUED",
            "createTime": f"2026-11-30T00:{number // 60:02d}:{number % 60:02d}Z",
        },
    )
    made.pop("etag")
    return made


@answers(f"{_JOBS}.get", "aiplatform.customJobs.get")
def get(call: Call) -> Document:
    return _job(call)


@answers(f"{_JOBS}.list", "aiplatform.customJobs.list")
def list_jobs(call: Call) -> Document:
    wanted = re.fullmatch(r'displayName="([^"]*)"', call.query.get("filter", ""))
    if wanted is None:
        raise Refused(400, "INVALID_ARGUMENT", "Invalid filter.")
    start = f"vertex/{call.name('parent')}/customJobs/"
    names = sorted(
        name for name, job in call.world.things.items() if name.startswith(start) and job["displayName"] == wanted[1]
    )
    for name in names:
        _further(call.world, call.world.things[name])
    return call.world.listed(names, call.query, "customJobs")


@answers(f"{_JOBS}.cancel", "aiplatform.customJobs.cancel")
def cancel(call: Call) -> Document:
    job = _job(call)
    if job["state"] in _OVER:
        raise Refused(400, "FAILED_PRECONDITION", f"The job is in state {job['state']}.")
    job["state"] = "JOB_STATE_CANCELLED"
    return {}


def written_lines(world: World, of: str) -> list[Document]:
    """What the job that a filter of logs names has written, newest first; nothing where it names none."""
    found = re.search(r'job_id="(\d+)"', of)
    lines = next(
        (
            job.get("labels", {}).get("lines", "")
            for name, job in world.things.items()
            if found and name.startswith("vertex/") and name.endswith(f"/{found[1]}")
        ),
        "",
    )
    return [{"textPayload": line} for line in lines.splitlines()[::-1]]


def _job(call: Call) -> Document:
    name = f"vertex/{call.name()}"
    if name not in call.world.things:
        raise not_found(call.name())
    return call.world.things[name]


def _further(world: World, job: Document) -> None:
    if job["state"] == "JOB_STATE_RUNNING":
        _run(world, job)
    else:
        job["state"] = NEXT.get(job["state"], job["state"])


def _run(world: World, job: Document) -> None:
    spec = job["jobSpec"]
    (pool,) = spec["workerPoolSpecs"]
    root = world.folder / "gcs"
    mount(world, root)
    output = spec["baseOutputDirectory"]["outputUriPrefix"]
    environ = {"FISO_GCS": str(root), "AIP_MODEL_DIR": f"{output}/model/"}
    longest_s = float(spec["scheduling"]["timeout"].rstrip("s"))
    ended = training_container.run(pool["containerSpec"]["args"], environ, longest_s=longest_s)
    job.setdefault("labels", {})["lines"] = "\n".join(ended.lines)
    if ended.code:
        job["state"] = "JOB_STATE_FAILED"
        text = f"The replica workerpool0-0 exited with a non-zero status of {ended.code}."
        job["error"] = {"code": 3, "message": text}
        return
    _unmount(world, root, output)
    job["state"] = "JOB_STATE_SUCCEEDED"


def mount(world: World, root: Path) -> None:
    for key, content in world.objects.items():
        path = root / key.removeprefix("object/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _unmount(world: World, root: Path, output: str) -> None:
    folder = root / output.removeprefix("gs://")
    for path in folder.rglob("*"):
        if path.is_file():
            key = f"object/{path.relative_to(root)}"
            world.objects[key] = path.read_bytes()
            world.put(key, {"kind": "storage#object", "name": key.split("/", 2)[2], "generation": "1"})
