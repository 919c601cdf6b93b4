"""Checks of the functions: what is set, which code runs, which layers lie beneath, whether the stream reaches its
consumer, and what the API answers."""

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from fiso import __version__
from fiso_cli.doctor.finding import Finding, ok, unknown, warning, wrong
from fiso_cli.doctor.site import Site, is_missing, listed, redeploy
from fiso_cli.doctor.stack import UNTOLD, Resource, agrees
from fiso_cli.errors import CommandError

COMPARED = ("Handler", "MemorySize", "Runtime", "Timeout", "Architectures", "Role")
HEALTH_WITHIN_S = 10.0


def settings(site: Site) -> Iterator[Finding]:
    """What each function is set to beside what was deployed: somebody may have turned a knob by hand."""
    wanted = site.deployed.of_kind("AWS::Lambda::Function")
    known = {resource.name: there for resource, there in site.functions.values()}
    for resource in wanted:
        there = known.get(resource.name)
        if there is None:
            yield wrong(f"{resource.name} is gone", why="the stack has it, Lambda does not", fix=redeploy(site))
        elif different := list(_different(resource, there)):
            yield wrong(
                f"{resource.name} is not as it was deployed: {listed(different)}",
                why="the next deployment takes it back, or does not",
                fix=f"put it into serverless.yml, then {redeploy(site)}",
            )
        elif there.get("LastUpdateStatus") == "Failed":
            reason = there.get("LastUpdateStatusReason", "")
            yield wrong(f"{resource.name}: its last update failed: {reason}", why="old code runs", fix=redeploy(site))
    if wanted and all(resource.name in known for resource in wanted):
        yield ok(f"{len(wanted)} functions are there")


def _different(resource: Resource, there: Mapping[str, Any]) -> Iterator[str]:
    """Names only: a value may be a secret."""
    for name in COMPARED:
        if not agrees(resource.properties.get(name, UNTOLD), there.get(name)):
            yield name
    wanted = resource.properties.get("Environment", {}).get("Variables", {})
    found = there.get("Environment", {}).get("Variables", {})
    if isinstance(wanted, Mapping):
        # Lambda keeps no variable without a value apart from an absent one everywhere.
        yield from sorted(n for n in {*wanted, *found} if not agrees(wanted.get(n) or "", found.get(n) or ""))


def versions(site: Site) -> Iterator[Finding]:
    """Whether the code that runs is the code that was deployed, function by function; and what the API says it is."""
    differing = [name for name in site.functions if not _runs_what_was_deployed(site, name)]
    for name in differing:
        yield wrong(
            f"{site.functions[name][0].name} runs other code than was deployed",
            why="versions that were never tested together work together",
            fix=redeploy(site),
        )
    if not differing:
        yield ok("each function runs the code that was deployed")
    yield from _aliases(site)


def _runs_what_was_deployed(site: Site, name: str) -> bool:
    """The serverless command notes each archive's digest in the bucket; Lambda tells the digest of what it runs."""
    resource, there = site.functions[name]
    place = resource.properties.get("Code", {})
    bucket, key = place.get("S3Bucket"), place.get("S3Key")
    if not isinstance(bucket, str) or not isinstance(key, str):
        return True
    try:
        noted = site.client("s3").head_object(Bucket=bucket, Key=key).get("Metadata", {}).get("filesha256")
    except ClientError as error:
        if not is_missing(error):
            raise
        return True  # only the last few deployments are kept
    return noted is None or noted == there.get("CodeSha256")


def _aliases(site: Site) -> Iterator[Finding]:
    """A canary that was left standing sends a share of requests to code that nobody watches any more."""
    for resource in site.deployed.of_kind("AWS::Lambda::Alias"):
        function, name = str(resource.properties.get("FunctionName")), str(resource.properties.get("Name"))
        alias = site.client("lambda").get_alias(FunctionName=function.rpartition(":function:")[2], Name=name)
        weights = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        if weights:
            yield warning(
                f"{alias['AliasArn'].rpartition(':function:')[2]} sends a share to version {listed(list(weights))}",
                why="two versions serve at once",
                fix=f"promote or roll back: {redeploy(site)}",
            )
        else:
            yield ok(f"alias {name} of {function.rpartition(':')[2]} is version {alias['FunctionVersion']}")


def layers(site: Site) -> Iterator[Finding]:
    """Layers that were deleted still serve what runs, and fail the next start of nothing but a deployment."""
    asked, seen = site.client("lambda"), 0
    for name, (resource, there) in site.functions.items():
        found = [layer["Arn"] for layer in there.get("Layers", [])]
        if not agrees(resource.properties.get("Layers", []), found):
            yield wrong(
                f"{name} has other layers than were deployed",
                why="models or checks of tokens may be missing",
                fix=redeploy(site),
            )
        for arn in found:
            try:
                layer = asked.get_layer_version_by_arn(Arn=arn)
            except ClientError as error:
                if not is_missing(error):
                    raise
                yield wrong(
                    f"{name}: layer {arn.rpartition(':layer:')[2]} is deleted",
                    why="the function cannot be updated any more",
                    fix=redeploy(site),
                )
                continue
            seen += 1
            runtimes = layer.get("CompatibleRuntimes") or [there["Runtime"]]
            if there["Runtime"] not in runtimes:
                yield wrong(
                    f"{name} runs {there['Runtime']}, its layer is for {listed(runtimes)}",
                    why="what is compiled does not load",
                    fix=redeploy(site),
                )
    if seen:
        yield ok(f"{seen} layers are there")


def stream(site: Site) -> Iterator[Finding]:
    """From the log's table to its consumer: without it nothing is learned and nothing archived."""
    asked = site.client("lambda")
    mappings = site.deployed.of_kind("AWS::Lambda::EventSourceMapping")
    if not mappings:
        yield unknown("the stack has no stream")
    for resource in mappings:
        if resource.properties.get("Enabled") is False:
            yield ok("the stream is delivered by the local cloud")
            continue
        mend = f"aws lambda update-event-source-mapping --uuid {resource.name} --enabled"
        why = "states are not learned, and records are lost after a day"
        try:
            mapping = asked.get_event_source_mapping(UUID=resource.name)
        except ClientError as error:
            if not is_missing(error):
                raise
            yield wrong("the stream's mapping is gone", why=why, fix=redeploy(site))
            continue
        table = str(mapping["EventSourceArn"]).partition(":table/")[2].partition("/")[0]
        current = site.client("dynamodb").describe_table(TableName=table)["Table"].get("LatestStreamArn")
        last = str(mapping.get("LastProcessingResult") or "")
        if mapping["State"] not in ("Enabled", "Enabling", "Creating", "Updating"):
            yield wrong(f"the stream is {mapping['State']}", why=why, fix=mend)
        elif current != mapping["EventSourceArn"]:
            yield wrong(f"the consumer reads a stream that {table} no longer has", why=why, fix=redeploy(site))
        elif last.startswith("PROBLEM"):
            yield wrong(f"the stream stands: {last}", why=why, fix=f"fiso deadletter list --stage {site.name}")
        else:
            yield ok(f"{table} reaches its consumer")


def api(site: Site) -> Iterator[Finding]:
    """What `/healthz` says, as any stranger is told."""
    import httpx

    from fiso_cli.traffic.gateway import is_loopback

    try:
        url = f"{site.stage.gateway_url}/healthz"  # a function URL asks for a signature
        answer = httpx.get(url, timeout=HEALTH_WITHIN_S, trust_env=not is_loopback(url))
        said = answer.json()
    except (httpx.HTTPError, CommandError, ValueError) as error:
        yield wrong(
            f"the API does not answer: {str(error).splitlines()[0]}", why="nobody is served", fix=redeploy(site)
        )
        return
    if not isinstance(said, Mapping) or answer.status_code not in (200, 503):
        log = "aws logs tail " + str(
            site.functions["orchestrator"][1].get("LoggingConfig", {}).get("LogGroup", "/fiso")
        )
        yield wrong(f"/healthz answers {answer.status_code}", why="nobody is served", fix=log)
        return
    bad = [
        f"{name} {part.get('is')}: {part.get('reason')}"
        for name, part in said.get("parts", {}).items()
        if isinstance(part, Mapping) and part.get("reason") and part.get("is") != "off"
    ]
    if answer.status_code == 503 or said.get("status") == "unavailable":
        yield wrong(
            f"the API answers, and serves nobody: {listed(bad)}",
            why="each request is a 503",
            fix=f"fiso apply -f fiso.yaml --stage {site.name}",
        )
    elif bad:
        yield warning(
            f"the API is {said.get('status')}: {listed(bad)}",
            why="it serves with less than it has",
            fix=f"fiso diagnose --stage {site.name}",
        )
    else:
        yield ok(f"the API answers: version {said.get('code_version')}, catalog {said.get('snapshot_version')}")
    if said.get("code_version") not in (None, __version__):
        yield warning(
            f"the stage is version {said.get('code_version')}, this command {__version__}",
            why="each writes what the other may not know",
            fix=redeploy(site),
        )
