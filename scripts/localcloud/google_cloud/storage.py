"""Storage: buckets and objects with generations, by whose conditions one of two writers is told that it was later."""

import base64
import hashlib

from localcloud.google_cloud.handlers import Call, answers, read_policy, write_policy
from localcloud.google_cloud.world import Document, Refused, World


def _reasoned(code: int, reason: str, message: str) -> Refused:
    return Refused(code, reason, message)


def _missing(what: str) -> Refused:
    return _reasoned(404, "notFound", f"The specified {what} does not exist.")


def _bucket(world: World, name: str) -> Document:
    if f"bucket/{name}" not in world.things:
        raise _missing("bucket")
    return world.things[f"bucket/{name}"]


@answers("storage.buckets.insert", "storage.buckets.create")
def make(call: Call) -> Document:
    name = call.body["name"]
    if len(name) > 63 or name != name.lower():
        raise _reasoned(400, "invalid", f"Invalid bucket name: '{name}'")
    if found := call.world.things.get(f"bucket/{name}"):
        own = found["projectNumber"] == call.world.projects.get(call.query["project"])
        raise _reasoned(
            409,
            "conflict",
            "Your previous request to create the named bucket succeeded and you already own it."
            if own
            else "The requested bucket name is not available. The namespace is shared by all users.",
        )
    given = {key: value for key, value in call.body.items() if key != "etag"}
    number = call.world.projects[call.project]
    return call.world.put(
        f"bucket/{name}", {**given, "kind": "storage#bucket", "projectNumber": number, "metageneration": "1"}
    )


@answers("storage.buckets.get", "storage.buckets.get")
def get(call: Call) -> Document:
    return _bucket(call.world, call.path["bucket"])


@answers("storage.buckets.delete", "storage.buckets.delete")
def delete(call: Call) -> Document:
    name = call.path["bucket"]
    _bucket(call.world, name)
    if any(key.startswith(f"object/{name}/") for key in call.world.things):
        raise _reasoned(409, "conflict", "The bucket you tried to delete is not empty.")
    call.world.drop(f"bucket/{name}")
    return {}


@answers("storage.buckets.getIamPolicy", "storage.buckets.getIamPolicy")
def get_policy(call: Call) -> Document:
    _bucket(call.world, call.path["bucket"])
    version = int(call.query.get("optionsRequestedPolicyVersion", "1"))
    return read_policy(call.world, f"bucket/{call.path['bucket']}", version)


@answers("storage.buckets.setIamPolicy", "storage.buckets.setIamPolicy")
def set_policy(call: Call) -> Document:
    _bucket(call.world, call.path["bucket"])
    body = {key: value for key, value in call.body.items() if key not in ("kind", "resourceId")}
    try:
        return write_policy(call.world, f"bucket/{call.path['bucket']}", body)
    except Refused as refused:
        if refused.code != 409:
            raise
        raise _reasoned(
            412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold."
        ) from None


def _check_condition(call: Call, found: Document | None) -> None:
    """`ifGenerationMatch`: 0 means that there is none."""
    wanted = call.query.get("ifGenerationMatch")
    if wanted is not None and wanted != (found or {"generation": "0"})["generation"]:
        raise _reasoned(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")


@answers("storage.objects.insert", "storage.objects.create")
def write(call: Call) -> Document:
    _bucket(call.world, call.path["bucket"])
    name = call.query.get("name") or call.body.get("name")
    key = f"object/{call.path['bucket']}/{name}"
    _check_condition(call, call.world.things.get(key))
    call.world.objects[key] = call.content
    md5 = base64.b64encode(hashlib.md5(call.content, usedforsecurity=False).digest()).decode()
    return call.world.put(
        key,
        {
            **({"metadata": call.body["metadata"]} if "metadata" in call.body else {}),
            "kind": "storage#object",
            "name": name,
            "bucket": call.path["bucket"],
            "generation": str(1_700_000_000_000_000 + next(call.world.numbers)),
            "metageneration": "1",
            "size": str(len(call.content)),
            "md5Hash": md5,
        },
    )


def _object(call: Call) -> str:
    key = f"object/{call.path['bucket']}/{call.path['object']}"
    if key not in call.world.things:
        raise _reasoned(404, "notFound", f"No such object: {call.path['bucket']}/{call.path['object']}")
    return key


@answers("storage.objects.get", "storage.objects.get")
def read(call: Call) -> Document:
    """The object's metadata; the server sends its content where `alt=media` is asked for."""
    return call.world.things[_object(call)]


@answers("storage.objects.delete", "storage.objects.delete")
def remove(call: Call) -> Document:
    key = _object(call)
    _check_condition(call, call.world.things[key])
    call.world.objects.pop(key, None)
    call.world.drop(key)
    return {}


@answers("storage.objects.list", "storage.objects.list")
def list_objects(call: Call) -> Document:
    bucket = call.path["bucket"]
    _bucket(call.world, bucket)
    names = sorted(
        name for name in call.world.things if name.startswith(f"object/{bucket}/{call.query.get('prefix', '')}")
    )
    return call.world.listed(names, call.query, "items", "maxResults")
