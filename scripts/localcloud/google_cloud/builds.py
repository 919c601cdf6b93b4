"""Builds: repositories of images, and what Cloud Run's build makes of a source: an image that can be run here.

An image is the source itself, unpacked. The libraries that a build would install are those of this machine.
"""

import io
import py_compile
import re
import tarfile

from localcloud.google_cloud.handlers import Call, add_policies, answers
from localcloud.google_cloud.world import Document, Refused, World, exists, not_found

_IMAGE = re.compile(
    r"(?P<region>[a-z0-9-]+)-docker\.pkg\.dev/(?P<project>[^/]+)/(?P<repo>[^/]+)/(?P<image>[^:]+):(?P<tag>\S+)"
)
_AR = "artifactregistry.projects.locations.repositories"


@answers(f"{_AR}.create", "artifactregistry.repositories.create")
def make(call: Call) -> Document:
    call.project  # noqa: B018  refuses an unknown one
    name = f"{call.name('parent')}/repositories/{call.query['repositoryId']}"
    if f"ar/{name}" in call.world.things:
        raise exists(name)
    given = {key: value for key, value in call.body.items() if key != "name"}

    def finish() -> Document:
        made = call.world.put(f"ar/{name}", {**given, "name": name})
        made.pop("etag")
        return {"@type": "type.googleapis.com/google.devtools.artifactregistry.v1.Repository", **made}

    return call.world.operate(call.name("parent"), finish, call.fault)


@answers(f"{_AR}.get", "artifactregistry.repositories.get")
def get(call: Call) -> Document:
    return call.world.get(f"ar/{call.name()}")


@answers(f"{_AR}.list", "artifactregistry.repositories.list")
def list_repositories(call: Call) -> Document:
    start = f"ar/{call.name('parent')}/repositories/"
    names = sorted(name for name in call.world.things if name.startswith(start) and "/packages/" not in name)
    return call.world.listed(names, call.query, "repositories")


@answers(f"{_AR}.delete", "artifactregistry.repositories.delete")
def delete(call: Call) -> Document:
    name = f"ar/{call.name()}"
    call.world.get(name)

    def finish() -> Document:
        for each in [each for each in call.world.things if each == name or each.startswith(f"{name}/")]:
            call.world.drop(each)
        return {"@type": "type.googleapis.com/google.protobuf.Empty"}

    return call.world.operate(call.name().rpartition("/repositories/")[0], finish, call.fault)


@answers(f"{_AR}.packages.tags.get", "artifactregistry.tags.get")
def get_tag(call: Call) -> Document:
    found = call.world.get(f"ar/{call.name()}")
    return {"name": found["name"], "version": found["version"]}


add_policies("ar", _AR, "artifactregistry.repositories")


@answers("run.projects.locations.builds.submit", "run.builds.create")
def submit(call: Call) -> Document:
    project, body = call.project, call.body
    found = _IMAGE.fullmatch(body["imageUri"])
    if not found:
        raise Refused(400, "INVALID_ARGUMENT", f"Invalid image URI: {body['imageUri']}")
    number = next(call.world.numbers)
    build = f"{call.name('parent')}/builds/{number:08x}"
    call.world.things[f"build/{build}"] = {"name": build, "status": "WORKING", "tags": body.get("tags", [])}

    def finish() -> Document:
        state = call.world.things[f"build/{build}"]
        try:
            _built(call.world, project, body, found.groupdict())
        except Refused:
            state["status"] = "FAILURE"
            raise
        state["status"] = "SUCCESS"
        return {"@type": "type.googleapis.com/google.devtools.cloudbuild.v1.Build", "name": build, "status": "SUCCESS"}

    metadata = {
        "@type": "type.googleapis.com/google.devtools.cloudbuild.v1.BuildOperationMetadata",
        "build": {"name": build, "status": "WORKING"},
    }
    operation = call.world.operate(call.name("parent"), finish, call.fault, metadata)
    base = "us-central1-docker.pkg.dev/serverless-runtimes/google-24-full/runtimes/python313"
    return {"buildOperation": operation, "baseImageUri": base}


def _built(world: World, project: str, body: Document, image: dict[str, str]) -> None:
    """What the builder would say of a source that it cannot build is the operation's error."""
    source = body["storageSource"]
    key = f"object/{source['bucket']}/{source['object']}"
    account = body.get("serviceAccount", "")
    if account and f"iam/{account}" not in world.things:
        raise not_found(account)
    if key not in world.objects:
        raise Refused(400, "INVALID_ARGUMENT", f"could not find source gs://{source['bucket']}/{source['object']}")
    repository = f"projects/{image['project']}/locations/{image['region']}/repositories/{image['repo']}"
    if f"ar/{repository}" not in world.things:
        raise not_found(repository)
    folder = world.folder / "images" / f"{image['image']}-{image['tag']}"
    try:
        with tarfile.open(fileobj=io.BytesIO(world.objects[key]), mode="r:gz") as tar:
            tar.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise Refused(400, "FAILED_PRECONDITION", "Build failed: the source is not a .tar.gz archive") from error
    main = folder / "main.py"
    if not main.is_file():
        raise Refused(
            400, "FAILED_PRECONDITION", "Build failed: missing main.py and GOOGLE_FUNCTION_SOURCE not specified"
        )
    try:
        py_compile.compile(str(main), doraise=True, cfile=str(folder / ".checked"))
    except py_compile.PyCompileError as error:
        raise Refused(400, "FAILED_PRECONDITION", f"Build failed: {error.exc_type_name} in main.py") from error
    name = f"{repository}/packages/{image['image']}/tags/{image['tag']}"
    target = body.get("buildpackBuild", {}).get("functionTarget", "main")
    version = f"{repository}/packages/{image['image']}/versions/sha256:{world.etag(body)}"
    world.things[f"ar/{name}"] = {"name": name, "version": version, "folder": str(folder), "target": target}
    world.made_at[f"ar/{name}"] = world.requests


def image(world: World, uri: str) -> Document:
    """An image that was built here, by the address that a service names; 404."""
    found = _IMAGE.fullmatch(uri)
    if found:
        given = found.groupdict()
        name = "ar/projects/{project}/locations/{region}/repositories/{repo}/packages/{image}/tags/{tag}".format(
            **given
        )
        if name in world.things:
            return world.things[name]
    raise Refused(404, "NOT_FOUND", f"Image '{uri}' not found.")


@answers("cloudbuild.projects.locations.builds.list", "cloudbuild.builds.list")
def list_builds(call: Call) -> Document:
    """Those of a tag; no other filter is understood here."""
    start, wanted = f"build/{call.name('parent')}/builds/", re.findall(r'tags="([^"]+)"', call.query.get("filter", ""))
    names = [
        name
        for name, build in sorted(call.world.things.items())
        if name.startswith(start) and set(wanted) <= set(build["tags"])
    ]
    return call.world.listed(names, call.query, "builds")


@answers("cloudbuild.projects.locations.builds.get", "cloudbuild.builds.get")
def get_build(call: Call) -> Document:
    return call.world.get(f"build/{call.name()}")
