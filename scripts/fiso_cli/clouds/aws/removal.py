"""Removal: what carries a stage's tags in an account, found by looking in every region, as steps to be undone. It reads
the cloud alone: what a killed run left is found, and what only looks like FISO's is not."""

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

from fiso_cli.clouds.aws.client import Aws, Document
from fiso_cli.clouds.aws.names import DEPLOYMENT_TAG, ROLE_PATH, STAGE_TAG, Place
from fiso_cli.clouds.aws.steps import group_of, group_tags, tags_of
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step
from fiso_cli.errors import CommandError

AT_ONCE = 16
MISSING = Look(ABSENT.state)


def copies(aws: Aws, place: Place, functions: Collection[str] = ()) -> dict[str, list[str]]:
    """The functions that are deployed, each with the ids of its endpoints."""
    found: dict[str, list[str]] = {}
    for each in _everywhere(aws, place):
        function, endpoint = _owner(each)
        if each["kind"] == "function" and endpoint and (not functions or function in functions):
            found.setdefault(function, []).append(endpoint)
    return {function: sorted(endpoints) for function, endpoints in found.items()}


def leftovers(
    aws: Aws, place: Place, functions: Collection[str] = (), endpoints: Collection[tuple[str, str]] | None = None
) -> list[Step]:
    """What carries the stage's tags, in the order in which it was made: of all functions, of some, or of some copies
    alone, whose functions' roles stay."""
    found = _everywhere(aws, place)
    if endpoints is None:
        found += _roles(aws, place)
    found.sort(key=lambda each: (_ORDER[each["kind"]], each["name"]))
    return [
        _MADE[each["kind"]](aws, place, each)
        for each in found
        if (endpoints is None or _owner(each) in endpoints) and (not functions or _owner(each)[0] in functions)
    ]


def _owner(found: Document) -> tuple[str, str]:
    """Whose it is: the tag says `FUNCTION.ENDPOINT`."""
    function, _, endpoint = str(found["tags"][DEPLOYMENT_TAG]).partition(".")
    return function, endpoint


def _is_ours(place: Place, tags: Document | None) -> bool:
    return bool(tags) and tags.get(STAGE_TAG) == place.stage and bool(tags.get(DEPLOYMENT_TAG))  # type: ignore[union-attr]


def _everywhere(aws: Aws, place: Place) -> list[Document]:
    """Functions and log groups of all regions of the account; several are asked at once."""
    regions = aws.regions()
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        found = pool.map(lambda region: list(_of_region(aws, place, region)), regions)
        return [each for several in found for each in several]


def _of_region(aws: Aws, place: Place, region: str) -> Iterator[Document]:
    for function in aws.pages("lambda", "list_functions", "Functions", region=region):
        name = str(function["FunctionName"])
        if name.startswith(place.prefix):
            tags = (aws.find("lambda", "list_tags", region=region, Resource=function["FunctionArn"]) or {}).get("Tags")
            if _is_ours(place, tags):
                yield {"kind": "function", "name": name, "region": region, "tags": tags}
    prefix = f"/aws/lambda/{place.prefix}"
    for group in aws.pages("logs", "describe_log_groups", "logGroups", region=region, logGroupNamePrefix=prefix):
        tags = dict(group_tags(aws, region, group))
        if _is_ours(place, tags):
            yield {"kind": "logs", "name": group["logGroupName"], "region": region, "tags": tags}


def _roles(aws: Aws, place: Place) -> list[Document]:
    found = []
    for each in aws.pages("iam", "list_roles", "Roles", PathPrefix=ROLE_PATH):
        if str(each["RoleName"]).startswith(place.prefix) and str(each["Path"]) == ROLE_PATH:
            whole = aws.find("iam", "get_role", RoleName=each["RoleName"])  # the list has no tags
            tags = tags_of(whole["Role"].get("Tags")) if whole else {}
            if _is_ours(place, tags):
                found.append({"kind": "role", "name": each["RoleName"], "tags": tags})
    return found


def _function(aws: Aws, place: Place, found: Document) -> Step:
    where = {"region": found["region"], "FunctionName": found["name"]}

    def look() -> Look:
        now = aws.find("lambda", "get_function", **where)
        return AS_WANTED if now and _is_ours(place, now.get("Tags")) else MISSING

    def undo(say: Say) -> None:
        aws.find("lambda", "delete_function", **where)

    name = f"function {found['name']} in {found['region']}"
    return Step(name=name, makes="a running copy", look=look, make=_never, undo=undo)


def _logs(aws: Aws, place: Place, found: Document) -> Step:
    region, name = str(found["region"]), str(found["name"])

    def look() -> Look:
        now = group_of(aws, region, name)
        return AS_WANTED if now and _is_ours(place, dict(group_tags(aws, region, now))) else MISSING

    def undo(say: Say) -> None:
        aws.find("logs", "delete_log_group", region=region, logGroupName=name)

    return Step(name=f"logs {name} in {region}", makes="what it logged", look=look, make=_never, undo=undo)


def _role(aws: Aws, place: Place, found: Document) -> Step:
    name = str(found["name"])

    def look() -> Look:
        now = aws.find("iam", "get_role", RoleName=name)
        return AS_WANTED if now and _is_ours(place, tags_of(now["Role"].get("Tags"))) else MISSING

    def undo(say: Say) -> None:
        held = aws.find("iam", "list_role_policies", RoleName=name) or {}
        for policy in held.get("PolicyNames", []):
            aws.find("iam", "delete_role_policy", RoleName=name, PolicyName=policy)
        attached = aws.find("iam", "list_attached_role_policies", RoleName=name) or {}
        for each in attached.get("AttachedPolicies", []):  # whoever gave the function more rights by hand
            aws.find("iam", "detach_role_policy", RoleName=name, PolicyArn=each["PolicyArn"])
        aws.find("iam", "delete_role", RoleName=name)

    return Step(name=f"role {name}", makes="who its copies run as", look=look, make=_never, undo=undo)


_MADE = {"role": _role, "logs": _logs, "function": _function}
_ORDER = {"role": 0, "logs": 1, "function": 2}


def _never(say: Say) -> None:
    raise CommandError("only ever undone")
