"""Removal: all that carries the stage's labels in a project, found by looking everywhere, as steps to be undone.

Nothing is remembered from the deployment: what a killed run left is found, and what only looks like FISO's is not.
"""

from collections.abc import Collection, Iterator, Sequence

from fiso_cli.clouds.google import policies, steps
from fiso_cli.clouds.google.client import Document, Google
from fiso_cli.clouds.google.names import ENDPOINT_LABEL, FUNCTION_LABEL, Names, is_ours
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step

MISSING = Look(ABSENT.state)


def services(
    google: Google, names: Names, functions: Sequence[str], endpoints: Collection[tuple[str, str]] | None = None
) -> list[Step]:
    """The running copies, of these functions or of all; of some endpoints alone, each with its function."""
    return [
        _service(google, names, service["name"])
        for service in _ours(google, names, functions)
        if endpoints is None
        or (service["labels"].get(FUNCTION_LABEL), service["labels"].get(ENDPOINT_LABEL)) in endpoints
    ]


def endpoints(google: Google, names: Names, functions: Sequence[str]) -> dict[str, list[str]]:
    """Their endpoints' ids by function, as their labels say."""
    found: dict[str, list[str]] = {}
    for service in _ours(google, names, functions):
        labels = service["labels"]
        if FUNCTION_LABEL in labels and ENDPOINT_LABEL in labels:
            found.setdefault(labels[FUNCTION_LABEL], []).append(labels[ENDPOINT_LABEL])
    return found


def _ours(google: Google, names: Names, functions: Sequence[str]) -> Iterator[Document]:
    for region in _regions(google):
        for service in _services(google, f"projects/{names.project}/locations/{region}"):
            labels = service.get("labels", {})
            if is_ours(labels, names.labels) and (not functions or labels.get(FUNCTION_LABEL) in functions):
                yield service


def stage(google: Google, names: Names) -> list[Step]:
    """What the copies stood on: images, accounts, bindings; in the order in which it was made."""
    member = f"serviceAccount:{names.builder}"
    policy = policies.ProjectPolicy(google, names.project)
    accounts = [_account(google, names, each["name"]) for each in _accounts(google, names)]
    repositories = [_repository(google, names, each["name"]) for each in _repositories(google, names)]
    return [*accounts, _unbound(google, policy, steps.LOG_WRITER, member), *repositories, _sources(google, names)]


def bucket(google: Google, names: Names) -> Step:
    """The last, since the lock is in it."""

    def look() -> Look:
        found = google.find("storage", lambda api: api.buckets().get(bucket=names.bucket))
        return AS_WANTED if found and is_ours(found.get("labels"), names.labels) else MISSING

    def undo(say: Say) -> None:
        _gone(google, "storage", lambda api: api.buckets().delete(bucket=names.bucket))

    return Step(name=f"bucket {names.bucket}", makes="", look=look, make=_never, undo=undo)


def _never(say: Say) -> None:
    raise AssertionError("what is removed is not made")


def _gone(google: Google, api: str, method: object) -> Document | None:
    """Delete what may be gone by now."""
    return google.find(api, method)  # type: ignore[arg-type]


def _regions(google: Google) -> list[str]:
    parent = f"projects/{google.project}"
    found = google.pages(
        "artifactregistry",
        lambda api, token: api.projects().locations().list(name=parent, pageToken=token),
        "locations",
    )
    # Cloud Run is in regions, the registry also in continents
    return sorted(each["locationId"] for each in found if "-" in each["locationId"])


def _services(google: Google, parent: str) -> Iterator[Document]:
    return google.pages(
        "run", lambda api, token: api.projects().locations().services().list(parent=parent, pageToken=token), "services"
    )


def _service(google: Google, names: Names, name: str) -> Step:
    def look() -> Look:
        found = google.find("run", lambda api: api.projects().locations().services().get(name=name))
        return AS_WANTED if found and is_ours(found.get("labels"), names.labels) else MISSING

    def undo(say: Say) -> None:
        begun = _gone(google, "run", lambda api: api.projects().locations().services().delete(name=name))
        if begun:
            google.wait("run", begun, say, name.rpartition("/")[2])

    short = f"service {name.rpartition('/')[2]} in {name.split('/')[3]}"
    return Step(name=short, makes="a running copy", look=look, make=_never, undo=undo, is_slow=True)


def _accounts(google: Google, names: Names) -> Iterator[Document]:
    parent = f"projects/{names.project}"
    for found in google.pages(
        "iam",
        lambda api, token: api.projects().serviceAccounts().list(name=parent, pageToken=token),
        "accounts",
    ):
        if _is_to_go(google, names, found):
            yield found


def _is_to_go(google: Google, names: Names, account: Document) -> bool:
    """Ours; and the caller's, unless AWS is trusted to act as it: then `fiso trust gcp --remove` takes it."""
    if account.get("description") == names.mark:
        return True
    if account.get("description") != names.caller_mark or account["email"] != names.caller:
        return False
    name = account["name"]
    policy = google.find("iam", lambda api: api.projects().serviceAccounts().getIamPolicy(resource=name))
    return not (policy or {}).get("bindings")


def _account(google: Google, names: Names, name: str) -> Step:
    def look() -> Look:
        found = steps.found_account(google, name)
        return AS_WANTED if found and _is_to_go(google, names, found) else MISSING

    def undo(say: Say) -> None:
        _gone(google, "iam", lambda api: api.projects().serviceAccounts().delete(name=name))

    short = name.rpartition("/")[2].partition("@")[0]
    return Step(name=f"account {short}", makes="a service account", look=look, make=_never, undo=undo)


def _repositories(google: Google, names: Names) -> Iterator[Document]:
    for region in _regions(google):
        parent = f"projects/{names.project}/locations/{region}"
        for found in google.pages(
            "artifactregistry",
            lambda api, token, parent=parent: (  # type: ignore[misc]
                api.projects().locations().repositories().list(parent=parent, pageToken=token)
            ),
            "repositories",
        ):
            if is_ours(found.get("labels"), names.labels):
                yield found


def _repository(google: Google, names: Names, name: str) -> Step:
    def look() -> Look:
        found = google.find("artifactregistry", lambda api: api.projects().locations().repositories().get(name=name))
        return AS_WANTED if found and is_ours(found.get("labels"), names.labels) else MISSING

    def undo(say: Say) -> None:
        begun = _gone(
            google, "artifactregistry", lambda api: api.projects().locations().repositories().delete(name=name)
        )
        if begun:
            google.wait("artifactregistry", begun, say, name.rpartition("/")[2])

    short = f"repository {name.rpartition('/')[2]} in {name.split('/')[3]}"
    return Step(name=short, makes="images", look=look, make=_never, undo=undo, is_slow=True)


def _unbound(google: Google, policy: policies.Policy, role: str, member: str) -> Step:
    """Before its account goes: a member that was deleted stays in a policy, as `deleted:…`, for good."""

    def look() -> Look:
        return AS_WANTED if policies.has(policy.read() or {}, role, member) else MISSING

    def undo(say: Say) -> None:
        policies.changed(google, policy, lambda found: policies.without_member(found, role, member))

    return Step(name="logs of builds", makes=role, look=look, make=_never, undo=undo)


def _sources(google: Google, names: Names) -> Step:
    """The packages in the bucket, if the bucket is ours."""
    own = bucket(google, names)

    def listed() -> list[str]:
        if own.look() is MISSING:
            return []
        found = google.pages(
            "storage",
            lambda api, token: api.objects().list(bucket=names.bucket, prefix="source/", pageToken=token),
            "items",
        )
        return [each["name"] for each in found]

    def look() -> Look:
        return AS_WANTED if listed() else MISSING

    def undo(say: Say) -> None:
        for name in listed():
            _gone(google, "storage", lambda api, name=name: api.objects().delete(bucket=names.bucket, object=name))

    return Step(name="sources", makes="packages in the bucket", look=look, make=_never, undo=undo)
