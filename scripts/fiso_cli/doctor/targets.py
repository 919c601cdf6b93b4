"""Checks of what is routed to: the published catalog, its functions on AWS, and the prices that they are chosen by."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from fiso.domain.endpoint import Provider
from fiso_cli.doctor.finding import Finding, ok, unknown, warning, wrong
from fiso_cli.doctor.permissions import refusals
from fiso_cli.doctor.site import Site, code_of, is_missing, listed
from fiso_cli.errors import CommandError

if TYPE_CHECKING:
    from fiso.domain.endpoint import Endpoint

MOST_ASKED = 40
"""Functions that are asked for, of a catalog with more."""


def catalog(site: Site) -> Iterator[Finding]:
    """The published catalog, as those who read it judge it."""
    from fiso.adapters.aws.s3 import S3Snapshots
    from fiso.codecs.seal import CatalogSeals
    from fiso.domain.errors import InvalidCatalog

    fix = f"fiso apply -f fiso.yaml --stage {site.name}"
    trusted = site.trusted("orchestrator", "catalog")
    floor = int(site.variables("orchestrator").get("FISO_CATALOG_FLOOR") or 0)
    older = site.variables("orchestrator").get("FISO_ACCEPT_OLDER_FORMS") == "1"
    seals = CatalogSeals(stage=site.name, keys=trusted, least=floor, accepts_unsigned=older)
    try:
        current = S3Snapshots(site.client("s3"), site.bucket, seals).current()
    except InvalidCatalog as error:
        yield wrong(f"the published catalog is refused: {error}", why="no request is answered by it", fix=fix)
        return
    if current is None:
        yield wrong("no catalog is published", why="each request is 404 or 503", fix=fix)
        return
    yield ok(f"catalog {current.version}, {len(current.functions)} functions")
    if current.damaged:
        yield wrong(f"damaged in it: {listed(sorted(map(str, current.damaged)))}", why="they are not served", fix=fix)


def targets(site: Site) -> Iterator[Finding]:
    """Each function on AWS that the catalog names: there, and open to you and to the orchestrator. None is run."""
    entries = () if site.catalog is None else site.catalog.functions.values()
    endpoints = on_aws(copy for entry in entries for copy in entry.endpoints)
    known = site.functions.get("orchestrator")
    role = None if known is None or site.stage.is_local else str(known[1]["Role"])
    problems = [each for endpoint in endpoints[:MOST_ASKED] for each in target(site, role, endpoint)]
    yield from problems
    if len(endpoints) > MOST_ASKED:
        yield unknown(f"{len(endpoints) - MOST_ASKED} more functions were not asked for")
    if not problems:
        yield ok(f"{len(endpoints)} functions on AWS may be called")


def on_aws(endpoints: "Iterable[Endpoint]") -> "list[Endpoint]":
    """One for each function."""
    return list({copy.address: copy for copy in endpoints if copy.provider is Provider.AWS}.values())


def target(site: Site, role: str | None, endpoint: "Endpoint") -> Iterator[Finding]:
    """What is wrong with a function on AWS: whether it is there is asked by a dry run, in the operator's own right;
    whether it may be invoked, of IAM's simulator for `role`, the orchestrator's."""
    address, region = endpoint.address, str(endpoint.region)
    asked = site.client("lambda", region=region)
    try:
        asked.invoke(FunctionName=address, InvocationType="DryRun")
    except ClientError as error:
        if is_missing(error):
            yield wrong(
                f"{endpoint.id}: there is no function {address} in {region}",
                why="requests to it fail",
                fix="deploy it, or correct its address in fiso.yaml",
            )
            return
        if code_of(error) not in ("AccessDeniedException", "AccessDenied"):
            raise
        # who asks need not be allowed to call; the orchestrator must
    if role is None:
        return
    arn = _arn(role, address, region)
    statement = {"Action": ["lambda:InvokeFunction"], "Resource": [arn], "Tags": _tags(asked, arn)}
    if refusals(site, role, [statement]):
        yield wrong(
            f"{endpoint.id}: the orchestrator may not invoke {arn.rpartition(':function:')[2]}",
            why="each call of it is refused, and its breaker opens",
            fix=f"aws lambda tag-resource --resource {arn.rpartition(':')[0] if arn.count(':') > 6 else arn} "
            f"--tags fiso-target={site.name}  # or targetFunctionArns in serverless.yml",
        )


def _arn(role: str, address: str, region: str) -> str:
    """A function is in the role's account unless it says otherwise."""
    if address.startswith("arn:"):
        return address
    _, partition, _, _, account, _ = role.split(":", 5)
    return f"arn:{partition}:lambda:{region}:{account}:function:{address}"


def _tags(asked: Any, arn: str) -> Mapping[str, str]:
    """What the function is tagged with, where one may know: permissions may go by it."""
    unqualified = ":".join(arn.split(":")[:7])
    try:
        tags: Mapping[str, str] = asked.list_tags(Resource=unqualified)["Tags"]
    except ClientError:
        return {}
    return tags


def prices(site: Site) -> Iterator[Finding]:
    """How old prices are, and which copies have none of their own."""
    from fiso.billing import tariff

    current = tariff.current()
    age = current.age_days(datetime.now(UTC).date())
    if age > tariff.STALE_DAYS:
        yield warning(
            f"prices are of {current.as_of}, {age} days ago",
            why="the cheapest copy may be another by now",
            fix="fiso tariffs update, then deploy",
        )
    else:
        yield ok(f"prices are of {current.as_of}")
    if site.stack is None or site.caller is None:
        return
    try:
        found = site.catalog
    except (ClientError, CommandError):
        return  # the check of that name tells
    copies = [copy for entry in (found.functions.values() if found else ()) for copy in entry.endpoints]
    if bare := sorted({f"{copy.provider} {copy.region}" for copy in copies if current.rate(copy) is None}):
        yield warning(
            f"no price for {listed(bare)}", why="such copies are left out where cost counts", fix="fiso tariffs update"
        )
