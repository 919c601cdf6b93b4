"""Checks of the account: who asks, where, by which clock, within which quotas; and the state of the stack."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from fiso_cli.doctor.finding import Finding, ok, unknown, warning, wrong
from fiso_cli.doctor.site import Site, code_of, is_missing, redeploy
from fiso_cli.doctor.stack import Stack, read_template
from fiso_cli.errors import CommandError

SKEW_WARNING_S, SKEW_WRONG_S = 5.0, 60.0
"""Signatures bear 300 s; leases and marks are written in seconds."""
FEWEST_AT_ONCE, USUAL_AT_ONCE = 100, 1000
"""Lambda's concurrency: what a new account may have is 10, what it has after a request 1,000."""
TABLE_UNITS = 40_000
"""DynamoDB's usual limit of one table's writes a second."""
API_RATE = ("apigateway", "L-8A5B8E43")
"""Requests a second that an account's APIs may have in a region."""
_DONE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")


def identity(site: Site) -> Iterator[Finding]:
    """Who asks. Without an answer nothing else of AWS is looked at."""
    login = "fiso local up" if site.stage.is_local else "aws configure sso"
    try:
        answer = site.client("sts").get_caller_identity()
    except (NoCredentialsError, PartialCredentialsError):
        yield wrong("there are no AWS credentials", why="nothing of the stage can be seen or changed", fix=login)
        return
    except (BotoCoreError, CommandError) as error:
        place = "start it: fiso local up" if site.stage.is_local else "check the network, AWS_REGION and HTTPS_PROXY"
        yield wrong(f"AWS does not answer: {str(error).splitlines()[0]}", why="nothing can be looked at", fix=place)
        return
    except ClientError as error:
        site.seconds_off = _seconds_off(error.response)
        yield wrong(f"the credentials are refused: {code_of(error)}", why="nothing can be looked at", fix=login)
        return
    site.caller, site.seconds_off = str(answer["Arn"]), _seconds_off(answer)
    yield ok(f"{answer['Arn']}, region {site.stage.region}")
    if not site.stage.is_local and site.stage.session.region_name is None:
        yield warning(
            f"no region is set, {site.stage.region} is taken",
            why="whoever has another one set looks at another stage",
            fix=f"export AWS_REGION={site.stage.region}",
        )


def _seconds_off(answer: Mapping[str, Any]) -> float | None:
    stated = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        return None if stated is None else (datetime.now(UTC) - parsedate_to_datetime(stated)).total_seconds()
    except ValueError:
        return None


def clock(site: Site) -> Iterator[Finding]:
    """This machine's clock by AWS's own, as the first answer dated itself."""
    off = site.seconds_off
    if off is None:
        yield unknown("AWS did not say what time it is")
        return
    said = f"this clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} AWS's"
    if abs(off) <= SKEW_WARNING_S:
        yield ok("this clock is AWS's to within 5 s")
        return
    found = warning if abs(off) <= SKEW_WRONG_S else wrong
    yield found(said, why="signatures and leases are refused when clocks differ", fix="sudo chronyc makestep")


def stack(site: Site) -> Iterator[Finding]:
    """Whether the stage stands. Sets what the checks of its parts read."""
    asked, name = site.client("cloudformation"), site.stage.stack_name
    try:
        (found,) = asked.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if not is_missing(error):
            raise
        first = "fiso demo" if site.stage.is_local else f"fiso setup --stage {site.name} && {redeploy(site)}"
        yield wrong(
            f"there is no stack {name} in {site.stage.region}",
            why="nothing serves",
            fix=first,
        )
        return
    status = str(found["StackStatus"])
    if status in ("ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS", "DELETE_COMPLETE") or status.startswith("DELETE"):
        mend = f"aws cloudformation delete-stack --stack-name {name}"
        yield wrong(f"{name} is {status}: its first deployment failed", why="it can only be deleted", fix=mend)
        return
    site.stack = _read(site, asked, found)
    yield _state(site, name, status)
    protected = found.get("EnableTerminationProtection")
    if site.name == "prod" and not protected and not site.stage.is_local:
        yield warning(
            f"{name} may be deleted by one command",
            why="keys of callers and learned states go with it",
            fix=f"aws cloudformation update-termination-protection --enable-termination-protection --stack-name {name}",
        )


def _state(site: Site, name: str, status: str) -> Finding:
    if status in _DONE:
        return ok(f"{name} is {status}")
    if status.endswith("IN_PROGRESS"):
        wait = f"aws cloudformation describe-stack-events --stack-name {name}"
        return warning(f"{name} is {status}", why="what is seen now may change", fix=wait)
    if status.endswith("ROLLBACK_COMPLETE"):
        seen = f"aws cloudformation describe-stack-events --stack-name {name}"
        said = f"{name} is {status}: the last deployment was taken back"
        return warning(said, why="the code before it runs", fix=seen)
    if status == "UPDATE_ROLLBACK_FAILED":
        mend = f"aws cloudformation continue-update-rollback --stack-name {name}"
        return wrong(f"{name} is {status}", why="it takes no deployment", fix=mend)
    return wrong(f"{name} is {status}", why="the last deployment did not end", fix=redeploy(site))


def _read(site: Site, asked: Any, found: Mapping[str, Any]) -> Stack:
    _, partition, _, region, account, *_ = str(found["StackId"]).split(":", 5)
    pages = asked.get_paginator("list_stack_resources").paginate(StackName=found["StackName"])
    names = {
        each["LogicalResourceId"]: each["PhysicalResourceId"]
        for page in pages
        for each in page["StackResourceSummaries"]
        if each.get("PhysicalResourceId") and not str(each["ResourceStatus"]).startswith("DELETE_COMPLETE")
    }
    try:
        template = read_template(asked.get_template(StackName=found["StackName"])["TemplateBody"])
    except ValueError as error:
        raise CommandError(f"the deployed template cannot be read: {error}") from error
    return Stack(
        name=str(found["StackName"]),
        status=str(found["StackStatus"]),
        account=account,
        region=region,
        partition=partition,
        template=template,
        names=names,
        settings=_settings(site, template),
    )


def _settings(site: Site, template: Mapping[str, Any]) -> dict[str, str]:
    """By the parameters' names in the template; none that is missing, or that one may not read."""
    named = {
        name: str(each.get("Default"))
        for name, each in template.get("Parameters", {}).items()
        if str(each.get("Type")).startswith("AWS::SSM::Parameter::Value")
    }
    if not named:
        return {}
    try:
        found = site.client("ssm").get_parameters(Names=[*named.values()])["Parameters"]
    except ClientError:
        return {}
    values = {each["Name"]: str(each["Value"]) for each in found}
    return {name: values[of] for name, of in named.items() if of in values}


def quotas(site: Site) -> Iterator[Finding]:
    """What the account may have at once, beside what the stage lets through."""
    yield _at_once(site)
    written = int(site.client("dynamodb").describe_limits()["TableMaxWriteCapacityUnits"])
    if written < TABLE_UNITS:
        yield warning(
            f"a table may take {written:,} write units a second",
            why="each request writes 4 to 6 of them",
            fix="aws service-quotas request-service-quota-increase --service-code dynamodb "
            f"--quota-code L-F98FE922 --desired-value {TABLE_UNITS}",
        )
    else:
        yield ok(f"a table may take {written:,} write units a second")
    yield from _api_rate(site)


def _at_once(site: Site) -> Finding:
    limits = site.client("lambda").get_account_settings()["AccountLimit"]
    free = int(limits["UnreservedConcurrentExecutions"])
    if free >= USUAL_AT_ONCE // 2:
        return ok(f"{free:,} functions may run at once")
    found = wrong if free < FEWEST_AT_ONCE else warning
    return found(
        f"{free} functions of this account may run at once",
        why="each request holds the orchestrator and its function; beyond that all get 429",
        fix="aws service-quotas request-service-quota-increase --service-code lambda "
        f"--quota-code L-B99A9384 --desired-value {USUAL_AT_ONCE}",
    )


def _api_rate(site: Site) -> Iterator[Finding]:
    service, code = API_RATE
    quota = site.client("service-quotas").get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]
    allowed = float(quota["Value"])
    stages = site.deployed.of_kind("AWS::ApiGatewayV2::Stage")
    rates = [each.properties.get("DefaultRouteSettings", {}).get("ThrottlingRateLimit") for each in stages]
    most = max((float(rate) for rate in rates if isinstance(rate, int | float | str)), default=0.0)
    if most > allowed:
        yield warning(
            f"routes let {most:,.0f} requests a second through, the account's APIs {allowed:,.0f}",
            why="API Gateway answers 429 before the stage's own limit",
            fix=f"aws service-quotas request-service-quota-increase --service-code {service} "
            f"--quota-code {code} --desired-value {most:.0f}",
        )
    else:
        yield ok(f"APIs may take {allowed:,.0f} requests a second, a route of this one {most:,.0f}")
