"""Checks of other clouds' monitoring: whether it is there, and whether what FISO tells of its copies is taken."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from fiso.domain.endpoint import Provider
from fiso_cli.clouds.azure.names import Group
from fiso_cli.doctor.finding import Finding, ok, wrong
from fiso_cli.doctor.site import Site

SINCE = timedelta(hours=1)
RULES = "2023-03-11"


def azure(site: Site) -> Iterator[Finding]:
    """By the data collection rule, whose id is in what the archiver was told."""
    rest, scope = site.elsewhere[Provider.AZURE.value]
    group = Group(stage=site.name, subscription=str(scope).rpartition("/")[2])
    path = group.resource("Microsoft.Insights/dataCollectionRules", f"fiso-{site.name}")
    found = rest.find(f"{path}?api-version={RULES}")
    rule = str((found or {}).get("properties", {}).get("immutableId", ""))
    yield from _said(site, Provider.AZURE, "azureMonitoring", rule)


def google(site: Site) -> Iterator[Finding]:
    """By the metrics, which are described before anything reads them."""
    apis, project = site.elsewhere[Provider.GCP.value]
    path = f"/v3/projects/{project}/metricDescriptors/custom.googleapis.com/fiso_attempts_total"
    found = apis["monitoring"].find(path)
    yield from _said(site, Provider.GCP, "googleMonitoring", f"{project} " if found else "")


def _said(site: Site, cloud: Provider, parameter: str, there: str) -> Iterator[Finding]:
    """`there` stands in the setting where what is told goes to what is there; empty where nothing is."""
    name = {Provider.AZURE: "FISO_AZURE_MONITORING", Provider.GCP: "FISO_GOOGLE_MONITORING"}[cloud]
    told, again = site.variables("archiver").get(name, ""), f"fiso deploy monitoring {cloud} --stage {site.name} --send"
    if not there and not told:
        yield ok(f"none is deployed: fiso deploy monitoring {cloud}")
    elif not there:
        yield wrong(
            f"the archiver tells {cloud} of its copies, and nothing is there", why="what is told is lost", fix=again
        )
    elif not told:
        yield ok(f"it is deployed; nobody tells it of attempts, so that most charts are empty: {again}")
    elif there not in told:
        yield wrong(f"{parameter} names another one than is there", why="what is told is lost", fix=again)
    else:
        yield from _received(site, cloud, again)


def _received(site: Site, cloud: Provider, again: str) -> Iterator[Finding]:
    now = datetime.now(UTC)
    answer = site.client("cloudwatch").get_metric_statistics(
        Namespace="FISO",
        MetricName="MonitoringNotTold",
        Dimensions=[{"Name": "service", "Value": f"fiso-{site.name}"}, {"Name": "provider", "Value": cloud.value}],
        StartTime=now - SINCE,
        EndTime=now,
        Period=int(SINCE.total_seconds()),
        Statistics=["Sum"],
    )
    lost = sum(point["Sum"] for point in answer["Datapoints"])
    if lost:
        said = f"{lost:.0f} attempts of the last hour were not taken"
        yield wrong(said, why="the archiver's log says with what status", fix=again)
    else:
        yield ok("it is deployed, and takes what it is told")
