"""Services: Cloud Run's, each a running copy, with who may call it."""

from localcloud.google_cloud import builds
from localcloud.google_cloud.handlers import Call, add_policies, answers
from localcloud.google_cloud.world import Document, Refused, exists

_RUN = "run.projects.locations.services"
_SERVICE = "type.googleapis.com/google.cloud.run.v2.Service"
_OUTPUT = ("uri", "urls", "uid", "generation", "reconciling", "terminalCondition", "etag", "observedGeneration")


@answers(f"{_RUN}.create", "run.services.create")
def make(call: Call) -> Document:
    call.project  # noqa: B018  refuses an unknown one
    given = call.query.get("serviceId") or f"service-{next(call.world.numbers)}"
    name = f"{call.name('parent')}/services/{given}"
    if len(given) > 49:
        raise Refused(400, "INVALID_ARGUMENT", "service id must have at most 49 characters")
    if f"run/{name}" in call.world.things:
        raise exists(name)
    return _deploy(call, name)


@answers(f"{_RUN}.patch", "run.services.update")
def change(call: Call) -> Document:
    found = call.world.get(f"run/{call.name()}")
    if "etag" in call.body and call.body["etag"] != found["etag"]:
        raise Refused(409, "ABORTED", "Conflict for resource: version was specified but current version is another.")
    return _deploy(call, call.name())


def _deploy(call: Call, name: str) -> Document:
    """The service is there at once, and ready when the operation is done: or it stays, and says why it is not."""
    _check(call, call.body)
    world, before = call.world, call.world.things.get(f"run/{name}", {})
    given = {key: value for key, value in call.body.items() if key not in _OUTPUT}
    generation = str(int(before.get("generation", "0")) + 1)
    kept: Document = {key: before[key] for key in ("uri", "urls") if key in before}
    pending: Document = {"type": "Ready", "state": "CONDITION_RECONCILING"}
    begun: Document = {**given, **kept, "name": name, "generation": generation}
    begun |= {"reconciling": True, "terminalCondition": pending}
    world.put(f"run/{name}", begun)
    failed = call.fault.failed if call.fault else None

    def finish() -> Document:
        if failed:
            _close(call, name, begun, str(failed["message"]))
            raise Refused(500, "INTERNAL", str(failed["message"]))
        try:
            built = builds.image(world, given["template"]["containers"][0]["image"])
            uri = world.started(name, {**begun, "image": built})
        except Refused as refused:
            _close(call, name, begun, refused.message)
            raise
        ready = {"type": "Ready", "state": "CONDITION_SUCCEEDED"}
        begun.update(uri=uri, urls=[uri], reconciling=False, terminalCondition=ready, observedGeneration=generation)
        return {"@type": _SERVICE, **world.put(f"run/{name}", begun)}

    hung = call.fault if call.fault and call.fault.hangs else None
    return world.operate(
        call.name("parent") if "parent" in call.path else name.rpartition("/services/")[0], finish, hung
    )


def _close(call: Call, name: str, begun: Document, why: str) -> None:
    failed = {"type": "Ready", "state": "CONDITION_FAILED", "message": why}
    call.world.put(f"run/{name}", {**begun, "reconciling": False, "terminalCondition": failed})


def _check(call: Call, service: Document) -> None:
    template = service["template"]
    if len(template.get("containers", [])) != 1:
        raise Refused(400, "INVALID_ARGUMENT", "exactly one container is run here")
    limits = template["containers"][0].get("resources", {}).get("limits", {})
    cpu = limits.get("cpu", "1")
    cores = float(cpu.removesuffix("m")) / (1000 if cpu.endswith("m") else 1)
    if cores < 1 and template.get("maxInstanceRequestConcurrency", 80) > 1:
        raise Refused(400, "INVALID_ARGUMENT", "Invalid value for total cpu < 1: concurrency must be 1")
    account = template.get("serviceAccount", "")
    if account and not call.world.is_seen(
        f"iam/projects/{account.partition('@')[2].partition('.')[0]}/serviceAccounts/{account}"
    ):
        raise Refused(400, "INVALID_ARGUMENT", f"Service account {account} does not exist.")


@answers(f"{_RUN}.get", "run.services.get")
def get(call: Call) -> Document:
    return call.world.get(f"run/{call.name()}")


@answers(f"{_RUN}.list", "run.services.list")
def list_services(call: Call) -> Document:
    start = f"run/{call.name('parent')}/services/"
    if "/locations/-" in start:
        project = start.partition("/locations/")[0]
        names = sorted(each for each in call.world.things if each.startswith(f"{project}/locations/"))
    else:
        names = sorted(each for each in call.world.things if each.startswith(start))
    return call.world.listed(names, call.query, "services")


@answers(f"{_RUN}.delete", "run.services.delete")
def delete(call: Call) -> Document:
    name = f"run/{call.name()}"
    found = call.world.get(name)

    def finish() -> Document:
        call.world.drop(name)
        return {"@type": _SERVICE, **found}

    return call.world.operate(call.name().rpartition("/services/")[0], finish, call.fault)


add_policies("run", _RUN, "run.services")
