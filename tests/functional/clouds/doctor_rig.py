"""A stage whose copies are on Azure and Google, as `fiso doctor` would like to find them."""

import json
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import boto3

from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Authentication, Endpoint, Provider
from fiso_cli.doctor.checks import CHECKS
from fiso_cli.doctor.finding import Finding
from fiso_cli.doctor.run import examine
from fiso_cli.doctor.site import Site
from fiso_cli.stage import Stage
from tests.builders import an_endpoint, an_entry
from tests.functional.clouds.trust_rig import ACCOUNT, KEYS, PROJECT, ROLE, TENANT, Trusts

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
SCOPE = f"/subscriptions/{SUBSCRIPTION}"
HOST = "thumbnails.azurewebsites.net"
APP = f"{SCOPE}/resourceGroups/fiso-prod/providers/Microsoft.Web/sites/thumbnails"
SERVICE = f"projects/{PROJECT}/locations/us-east4/services/thumbnails"
RUN_HOST = "thumbnails-abc-uk.a.run.app"
POOL = f"iam/projects/{PROJECT}/locations/global/workloadIdentityPools/fiso-prod"
EMAIL = f"fiso-prod@{PROJECT}.iam.gserviceaccount.com"
AZURE = an_endpoint(
    Provider.AZURE, address=f"https://{HOST}/api", region="eastus", memory_mb=512, authentication=Authentication.ENTRA
)
GOOGLE = an_endpoint(
    Provider.GCP,
    address=f"https://{RUN_HOST}",
    region="us-east4",
    memory_mb=512,
    concurrency_limit=100,
    authentication=Authentication.ID_TOKEN,
)


@dataclass(eq=False)
class Clouds:
    """A stage whose copies are on Azure and Google, trusted by both."""

    trust: Trusts
    arm: dict[str, Any]
    endpoints: list[Endpoint] = field(default_factory=lambda: [AZURE, GOOGLE])
    variables: dict[str, str] = field(default_factory=dict)
    archiver: dict[str, str] = field(default_factory=dict)
    lost: int = 0
    """Attempts that another cloud's monitoring did not take."""
    statuses: dict[str, int] = field(default_factory=dict)
    skew_s: float = 0.0
    arm_url: str = ""

    def respond(self, path: str, _headers: dict[str, str], _body: bytes) -> tuple[int, dict[str, str], bytes]:

        place = path.partition("?")[0]
        dated = {
            "date": format_datetime(
                datetime.fromtimestamp(datetime.now(UTC).timestamp() + self.skew_s, UTC), usegmt=True
            )
        }
        if status := self.statuses.get(place):
            return status, dated, json.dumps({"error": {"code": "Refused", "message": "no"}}).encode()
        found = self.arm.get(place)
        return (404 if found is None else 200), dated, json.dumps(found or {"error": {"code": "NotFound"}}).encode()

    def look(self, *clouds: str) -> list[Finding]:
        site = Site(stage=Stage.named("prod"), only_clouds=frozenset(clouds))
        entry: CatalogEntry = an_entry(*self.endpoints)
        site.caller, site.stack = "arn:aws:iam::1:user/ada", SimpleNamespace(account=ACCOUNT)  # type: ignore[assignment]
        known = {"Environment": {"Variables": self.variables}, "Role": f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"}
        told = {"Environment": {"Variables": self.archiver}}
        site.__dict__["functions"] = {"orchestrator": (None, known), "archiver": (None, told)}
        points = {"Datapoints": [{"Sum": float(self.lost)}] if self.lost else []}
        site._clients["cloudwatch", None] = SimpleNamespace(get_metric_statistics=lambda **_: points)
        site.__dict__["catalog"] = Snapshot(version=1, published_at=datetime.now(UTC), functions={entry.name: entry})
        with closing(boto3.client("iam", endpoint_url=self.trust.iam_url, **KEYS)) as iam:
            site._clients["iam", None] = iam
            chosen = [each for each in CHECKS if each.cloud in clouds and not each.name.endswith("-reach")]
            return list(examine(site, chosen))


def a_subscription() -> dict[str, Any]:
    registered = {"registrationState": "Registered"}
    namespaces = ("Web", "Storage", "Insights", "OperationalInsights", "Authorization")
    auth = {
        "platform": {"enabled": True},
        "globalValidation": {"requireAuthentication": True, "unauthenticatedClientAction": "Return401"},
        "identityProviders": {
            "azureActiveDirectory": {"enabled": True, "validation": {"allowedAudiences": [f"api://{TENANT}/{HOST}"]}}
        },
    }
    app = {
        "state": "Running",
        "httpsOnly": True,
        "defaultHostName": HOST,
        "functionAppConfig": {
            "scaleAndConcurrency": {"instanceMemoryMB": 512, "triggers": {"http": {"perInstanceConcurrency": 1}}},
            "runtime": {"name": "python", "version": "3.13"},
        },
    }
    usage = {"currentValue": 1, "limit": 100, "name": {"value": "FlexConsumption"}}
    return {
        "/subscriptions": {"value": [{"subscriptionId": SUBSCRIPTION, "displayName": "main", "state": "Enabled"}]},
        f"{SCOPE}/providers/Microsoft.Authorization/permissions": {"value": [{"actions": ["*"], "notActions": []}]},
        **{f"{SCOPE}/providers/Microsoft.{each}": dict(registered) for each in namespaces},
        f"{SCOPE}/locations": {"value": [{"name": "eastus"}, {"name": "westeurope"}]},
        f"{SCOPE}/providers/Microsoft.Web/geoRegions": {"value": [{"name": "East US"}]},
        f"{SCOPE}/providers/Microsoft.Web/locations/eastus/usages": {"value": [usage]},
        f"{SCOPE}/providers/Microsoft.Web/sites": {"value": [{"id": APP, "properties": app}]},
        f"{APP}/config/authsettingsV2": {"properties": auth},
    }


def a_project(here: Trusts) -> None:
    here.world.enabled[PROJECT] = {
        f"{api}.googleapis.com"
        for api in (
            "artifactregistry",
            "cloudbuild",
            "cloudresourcemanager",
            "iam",
            "iamcredentials",
            "run",
            "storage",
            "sts",
        )
    }
    container = {"image": "x", "resources": {"limits": {"memory": "512Mi"}}}
    here.world.things[f"run/{SERVICE}"] = {
        "name": SERVICE,
        "uri": f"https://{RUN_HOST}",
        "ingress": "INGRESS_TRAFFIC_ALL",
        "template": {
            "containers": [container],
            "maxInstanceRequestConcurrency": 1,
            "scaling": {"maxInstanceCount": 100},
        },
        "terminalCondition": {"state": "CONDITION_SUCCEEDED"},
    }
    here.world.made_at[f"run/{SERVICE}"] = 0
    here.world.policies[f"run/{SERVICE}"] = {
        "etag": "x",
        "bindings": [{"role": "roles/run.invoker", "members": [f"serviceAccount:{EMAIL}"]}],
    }
