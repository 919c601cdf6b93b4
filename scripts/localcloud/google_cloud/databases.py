"""Databases: Cloud SQL's instances, with their databases and users; each a genuine PostgreSQL where copies run."""

from collections.abc import Callable

from localcloud.google_cloud.handlers import Call, answers
from localcloud.google_cloud.world import Document, Refused, World, exists, not_found

_SMALL = ("db-f1-micro", "db-g1-small")


def _name(call: Call) -> str:
    return f"sql/{call.path['project']}/{call.path['instance']}"


def _found(call: Call) -> Document:
    call.project  # noqa: B018  refuses an unknown one
    if _name(call) not in call.world.things:
        raise not_found(f"instances/{call.path['instance']}")
    return call.world.things[_name(call)]


def _operation(world: World, begun: Document) -> Document:
    """Cloud SQL's operations have a form of their own."""
    shown: Document = {"kind": "sql#operation", "name": str(begun["name"]).rpartition("/")[2]}
    shown["status"] = "DONE" if begun["done"] else "RUNNING"
    if error := begun.get("error"):
        shown["error"] = {"errors": [{"code": str(error["code"]), "message": error["message"]}]}
    return shown


def _begin(call: Call, finish: Callable[[], Document]) -> Document:
    return _operation(call.world, call.world.operate("sql", finish, call.fault))


@answers("sql.operations.get")
def operation(call: Call) -> Document:
    found = call.world.operations.get(f"sql/operations/{call.path['operation']}")
    if found is None:
        raise not_found(call.path["operation"])
    return _operation(call.world, found.document())


@answers("sql.instances.insert", "cloudsql.instances.create")
def insert(call: Call) -> Document:
    call.project  # noqa: B018
    name = f"sql/{call.path['project']}/{call.body['name']}"
    if name in call.world.things:
        raise exists(str(call.body["name"]))
    _check(call.body)
    given = {key: value for key, value in call.body.items() if key != "rootPassword"}
    call.world.put(name, {**given, "project": call.path["project"], "state": "PENDING_CREATE"})

    def finish() -> Document:  # here it has no address before its owner is there, whose password it is started with
        call.world.put(name, {**call.world.things[name], "state": "RUNNABLE"})
        return {}

    return _begin(call, finish)


def _check(body: Document) -> None:
    settings, version = body["settings"], str(body.get("databaseVersion", ""))
    edition = settings.get("edition", "ENTERPRISE_PLUS" if version >= "POSTGRES_16" else "ENTERPRISE")
    if settings["tier"] in _SMALL and edition == "ENTERPRISE_PLUS":
        raise Refused(400, "INVALID_ARGUMENT", f"Invalid Tier ({settings['tier']}) for (ENTERPRISE_PLUS) Edition.")
    if int(settings.get("dataDiskSizeGb", 10)) < 10:
        raise Refused(400, "INVALID_ARGUMENT", "The disk size must be at least 10 GB.")
    network = settings.get("ipConfiguration", {})
    if not network.get("ipv4Enabled", True) and not network.get("privateNetwork"):
        raise Refused(400, "INVALID_ARGUMENT", "At least one of Public IP or Private IP or PSC must be enabled.")


@answers("sql.instances.get", "cloudsql.instances.get")
def get(call: Call) -> Document:
    return {key: value for key, value in _found(call).items() if not key.startswith("_")}


@answers("sql.instances.patch", "cloudsql.instances.update")
def patch(call: Call) -> Document:
    found = _found(call)
    settings = {**found["settings"], **call.body.get("settings", {})}

    def finish() -> Document:
        call.world.put(_name(call), {**found, "settings": settings})
        return {}

    return _begin(call, finish)


@answers("sql.instances.delete", "cloudsql.instances.delete")
def delete(call: Call) -> Document:
    found, name = _found(call), _name(call)
    if found["settings"].get("deletionProtectionEnabled"):
        raise Refused(400, "INVALID_ARGUMENT", "The instance is protected. Please disable the deletion protection.")

    def finish() -> Document:
        for each in [each for each in call.world.things if each == name or each.startswith(f"{name}/")]:
            call.world.drop(each)
        call.world.databases.stop(name)
        return {}

    return _begin(call, finish)


@answers("sql.databases.get", "cloudsql.databases.get")
def get_database(call: Call) -> Document:
    _found(call)
    return call.world.get(f"{_name(call)}/databases/{call.path['database']}")


@answers("sql.databases.insert", "cloudsql.databases.create")
def insert_database(call: Call) -> Document:
    return _insert(call, "databases")


@answers("sql.users.insert", "cloudsql.users.create")
def insert_user(call: Call) -> Document:
    found, name = _found(call), _name(call)
    address = call.world.databases.start(name, str(call.body["password"]))
    call.world.put(name, {**found, "ipAddresses": [{"type": "PRIVATE", "ipAddress": address}]})
    return _insert(call, "users")


@answers("sql.users.list", "cloudsql.users.list")
def list_users(call: Call) -> Document:
    _found(call)
    start = f"{_name(call)}/users/"
    return {"items": [each for key, each in call.world.things.items() if key.startswith(start)]}


def _insert(call: Call, kind: str) -> Document:
    found, name = _found(call), f"{_name(call)}/{kind}/{call.body['name']}"
    if found["state"] != "RUNNABLE":
        raise Refused(409, "ABORTED", "Operation failed because another operation was already in progress.")
    if name in call.world.things:
        raise exists(str(call.body["name"]))
    kept = {key: value for key, value in call.body.items() if key != "password"}

    def finish() -> Document:
        call.world.put(name, kept)
        return {}

    return _begin(call, finish)
