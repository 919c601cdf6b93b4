"""Steps of a deployment to Google, for the engine in `clouds.plan`: from the APIs of a project to copies that answer
their caller and nobody else. What each looks at is the real thing; what each makes may be made twice.
"""

from collections.abc import Callable, Sequence
from typing import Any

from fiso.billing.plans import gcp_vcpu
from fiso_cli.clouds.google.client import Document, Google, Refused
from fiso_cli.clouds.google.names import Copy, Names, Source, is_ours
from fiso_cli.clouds.google.policies import (
    BucketPolicy,
    ProjectPolicy,
    RepositoryPolicy,
    ServicePolicy,
    bound,
    known,
)
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step, different, not_ours

APIS = (
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "run.googleapis.com",
    "storage.googleapis.com",
)
BASE_IMAGE = "python313"
TIMEOUT_S = 300
LOG_WRITER, READER, WRITER, INVOKER = (
    "roles/logging.logWriter",
    "roles/storage.objectViewer",
    "roles/artifactregistry.writer",
    "roles/run.invoker",
)


def shared(google: Google, names: Names) -> list[Step]:
    """What must be there before the lock, since the lock is in it. Two runs at once may make it together."""
    return [apis(google, APIS), bucket(google, names)]


def stage(google: Google, names: Names) -> list[Step]:
    """What all copies of a stage use."""
    builder = f"serviceAccount:{names.builder}"
    return [
        account(google, names, names.builder, "who builds"),
        account(google, names, names.runner, "who the copies run as: no roles"),
        account(google, names, names.caller, "who FISO calls as", mark=names.caller_mark),
        _repository(google, names),
        bound(google, f"source for {names.stage}'s builds", BucketPolicy(google, names.bucket), READER, builder),
        bound(google, f"images of {names.stage}'s builds", RepositoryPolicy(google, names), WRITER, builder),
        bound(google, f"logs of {names.stage}'s builds", ProjectPolicy(google, names.project), LOG_WRITER, builder),
    ]


def function(
    google: Google, source: Source, packed: bytes, copies: list[Copy], *, most: int, invoker: str
) -> list[Step]:
    """One function: its source, its image, and a service in each region with the one who may call it."""
    steps = [_source(google, source, packed), _image(google, source)]
    for copy in copies:
        policy = ServicePolicy(google, copy.name)
        who = f"caller of {copy.source.function} {copy.endpoint}"
        steps += [_service(google, copy, most), bound(google, who, policy, INVOKER, invoker)]
    return steps


def ensured(make: Callable[[], object]) -> None:
    """Make what has a name: another run, or an earlier try of this request, may have been quicker."""
    try:
        make()
    except Refused as refused:
        if refused.code != 409:
            raise


def apis(google: Google, wanted_apis: Sequence[str]) -> Step:
    """That APIs are enabled; they stay on."""
    parent = f"projects/{google.project}"

    def missing() -> list[str]:
        wanted = [f"{parent}/services/{name}" for name in wanted_apis]
        found = google.call("serviceusage", lambda api: api.services().batchGet(parent=parent, names=wanted))
        enabled = {
            each["name"].rpartition("/")[2] for each in found.get("services", []) if each.get("state") == "ENABLED"
        }
        return [name for name in wanted_apis if name not in enabled]

    def look() -> Look:
        names = missing()
        google.enabled.update(set(wanted_apis) - set(names))
        return different(f"enable {', '.join(name.partition('.')[0] for name in names)}") if names else AS_WANTED

    def make(say: Say) -> None:
        body = {"serviceIds": missing()}
        begun = google.call("serviceusage", lambda api: api.services().batchEnable(parent=parent, body=body))
        google.wait("serviceusage", begun, say, "enable APIs")

    return Step(
        name="APIs", makes=f"{len(wanted_apis)} APIs enabled in {google.project}", look=look, make=make, is_slow=True
    )


def bucket(google: Google, names: Names) -> Step:
    """The stage's own, with the lock in it."""
    wanted = {
        "name": names.bucket,
        "location": names.region,
        "labels": names.labels,
        "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"},
        "softDeletePolicy": {"retentionDurationSeconds": "0"},  # else a removed source is paid for a week more
    }

    def look() -> Look:
        try:
            found = google.find("storage", lambda api: api.buckets().get(bucket=names.bucket))
        except Refused as refused:
            if refused.code != 403:
                raise
            return not_ours(f"bucket {names.bucket} is somebody else's: {refused}")
        if found is None:
            return ABSENT
        if not is_ours(found.get("labels"), names.labels):
            return not_ours(f"bucket {names.bucket} does not carry this stage's labels")
        return AS_WANTED

    def make(say: Say) -> None:
        ensured(lambda: google.call("storage", lambda api: api.buckets().insert(project=names.project, body=wanted)))

    return Step(name=f"bucket {names.bucket}", makes=f"sources and the lock, in {names.region}", look=look, make=make)


def account(google: Google, names: Names, email: str, makes: str, *, mark: str = "") -> Step:
    """A service account of the stage's."""
    mark = mark or names.mark
    full, short = names.account_name(email), email.partition("@")[0]

    def look() -> Look:
        found = found_account(google, full)
        if found is None:
            return ABSENT
        if found.get("description") != mark:
            return not_ours(f"service account {short} is not described as this stage's")
        return different("is disabled: enable it") if found.get("disabled") else AS_WANTED

    def make(say: Say) -> None:
        body = {"accountId": short, "serviceAccount": {"displayName": f"FISO {names.stage}", "description": mark}}
        parent = f"projects/{names.project}"
        ensured(lambda: google.call("iam", lambda api: api.projects().serviceAccounts().create(name=parent, body=body)))

    return Step(name=f"account {short}", makes=makes, look=look, make=make)


def found_account(google: Google, name: str) -> Document | None:
    """A service account. One that was made just now is at times refused, as if it were somebody else's: the list, which
    needs no right on it, then says whether it is there."""
    try:
        return google.find("iam", lambda api: api.projects().serviceAccounts().get(name=name))
    except Refused as refused:
        if refused.code != 403:
            raise
        parent = name.partition("/serviceAccounts/")[0]
        listed = google.pages(
            "iam", lambda api, token: api.projects().serviceAccounts().list(name=parent, pageToken=token), "accounts"
        )
        return next((each for each in listed if each["name"] == name), None)


def _repository(google: Google, names: Names) -> Step:
    def look() -> Look:
        found = google.find(
            "artifactregistry", lambda api: api.projects().locations().repositories().get(name=names.repository)
        )
        if found is None:
            return ABSENT
        if not is_ours(found.get("labels"), names.labels):
            return not_ours(f"repository fiso-{names.stage} does not carry this stage's labels")
        return AS_WANTED

    def make(say: Say) -> None:
        body, short = {"format": "DOCKER", "labels": names.labels}, f"fiso-{names.stage}"

        def begin() -> None:
            begun = google.call(
                "artifactregistry",
                lambda api: (
                    api.projects()
                    .locations()
                    .repositories()
                    .create(parent=names.location, repositoryId=short, body=body)
                ),
            )
            google.wait("artifactregistry", begun, say, "repository")

        ensured(begin)

    return Step(name=f"repository fiso-{names.stage}", makes=f"images, in {names.region}", look=look, make=make)


def _source(google: Google, source: Source, packed: bytes) -> Step:
    bucket = source.names.bucket

    def look() -> Look:
        found = google.find("storage", lambda api: api.objects().get(bucket=bucket, object=source.object))
        # the name says what is in it, and a write is whole or is not
        return AS_WANTED if found is not None and found["size"] == str(len(packed)) else ABSENT

    def make(say: Say) -> None:
        try:
            google.upload(bucket, source.object, packed)
        except Refused as refused:
            if refused.code != 412:
                raise

    size = f"{len(packed) / 1024:.0f} KB"
    return Step(name=f"source {source.function}", makes=f"{size}, sha256 {source.version[:12]}", look=look, make=make)


def _image(google: Google, source: Source) -> Step:
    names, mark = source.names, f"fiso-{source.function}-{source.version[:16]}"

    def look() -> Look:
        found = google.find(
            "artifactregistry",
            lambda api: api.projects().locations().repositories().packages().tags().get(name=source.tag),
        )
        return AS_WANTED if found else ABSENT

    def make(say: Say) -> None:
        body = {
            "imageUri": source.image,
            "storageSource": {"bucket": names.bucket, "object": source.object},
            "buildpackBuild": {
                "runtime": BASE_IMAGE,
                "functionTarget": source.target,
                "environmentVariables": {"GOOGLE_FUNCTION_SIGNATURE_TYPE": "http"},
            },
            "serviceAccount": names.account_name(names.builder),
            "tags": [mark],
        }
        if _is_building(google, names, mark, say):
            return
        builds = google.api("run").projects().locations().builds()
        begun = known(google, lambda: google.call("run", lambda api: builds.submit(parent=names.location, body=body)))
        google.wait("cloudbuild", begun["buildOperation"], say, f"build of {source.function}")

    what = f"built in {names.region} for {BASE_IMAGE}, one image for all regions"
    return Step(name=f"image {source.function}", makes=what, look=look, make=make, is_slow=True)


def _is_building(google: Google, names: Names, mark: str, say: Say) -> bool:
    """Whether a build that an earlier run began is on its way: it is waited for, not begun again."""
    tagged = f'tags="{mark}"'
    for _ in range(180):
        page = google.call(
            "cloudbuild", lambda api: api.projects().locations().builds().list(parent=names.location, filter=tagged)
        )
        states = [build.get("status") for build in page.get("builds", [])]
        if not {"QUEUED", "PENDING", "WORKING"} & set(states):
            return False
        say("a build of this very source is on its way: waiting for it …")
        google.pause(5.0)
        if "SUCCESS" in states:
            return True
    return False


def _service(google: Google, copy: Copy, most: int) -> Step:
    wanted = declared(copy, most)

    def look() -> Look:
        found = google.find("run", lambda api: api.projects().locations().services().get(name=copy.name))
        if found is None:
            return ABSENT
        if not is_ours(found.get("labels"), copy.source.names.labels):
            return not_ours(f"service {copy.service} in {copy.region} does not carry this stage's labels")
        why = differs(found, wanted)
        return different(why) if why else AS_WANTED

    def make(say: Say) -> None:
        services = google.api("run").projects().locations().services()
        found = google.find("run", lambda api: services.get(name=copy.name))

        def begin() -> None:
            if found is None:
                method = services.create(parent=copy.parent, serviceId=copy.service, body=wanted)
            else:
                method = services.patch(name=copy.name, body=wanted)
            begun = known(google, lambda: google.call("run", lambda api: method))
            google.wait("run", begun, say, f"service {copy.service}")

        ensured(begin)

    what = f"{copy.memory_mb} MB in {copy.region}, one request at a time, no unauthenticated calls"
    return Step(name=f"service {copy.source.function} {copy.endpoint}", makes=what, look=look, make=make, is_slow=True)


def declared(copy: Copy, most: int) -> Document:
    """The service as it is declared to Google (Cloud Run Admin API v2, Service)."""
    source, cpu = copy.source, gcp_vcpu(copy.memory_mb)
    return {
        "labels": copy.labels,
        "ingress": "INGRESS_TRAFFIC_ALL",
        "invokerIamDisabled": False,
        "template": {
            "labels": copy.labels,
            "serviceAccount": source.names.runner,
            "timeout": f"{TIMEOUT_S}s",
            # more at once would measure each other
            "maxInstanceRequestConcurrency": 1,
            "scaling": {"maxInstanceCount": most},
            "containers": [
                {
                    "image": source.image,
                    "env": [{"name": "FUNCTION_TARGET", "value": source.target}],
                    "resources": {
                        "limits": {"memory": f"{copy.memory_mb}Mi", "cpu": f"{cpu:g}"},
                        "cpuIdle": True,
                        "startupCpuBoost": True,
                    },
                }
            ],
        },
    }


def differs(found: Document, wanted: Document) -> str:
    """In words what of a service is not as declared; nothing of what Google adds by itself."""
    state = found.get("terminalCondition", {})
    if found.get("reconciling"):
        return "is still being deployed"
    if state.get("state") != "CONDITION_SUCCEEDED":
        return f"is not ready: {' '.join(str(state.get('message', state.get('state'))).split())[:120]}"
    for place in _places(wanted):
        ours, theirs = _at(wanted, place), _at(found, place)
        if _comparable(ours) != _comparable(theirs):
            return f"{place[-1] if isinstance(place[-1], str) else place[-2]}: {theirs} instead of {ours}"
    return ""


def _places(wanted: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(wanted, dict):
        return [place for name, each in wanted.items() for place in _places(each, (*at, name))]
    if isinstance(wanted, list):
        return [place for number, each in enumerate(wanted) for place in _places(each, (*at, number))]
    return [at]


def _at(document: Any, place: tuple[str | int, ...]) -> Any:
    for part in place:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def _comparable(value: Any) -> Any:
    """Google leaves out what is false, and may say half a processor as 500m."""
    if value is None:
        return False
    if isinstance(value, str) and value.endswith("m") and value[:-1].isdigit():
        return f"{int(value[:-1]) / 1000:g}"
    return value
