"""`fiso doctor` on Azure and Google: all is well, or what somebody did is found and its mending named."""

import socket
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from fiso.domain.endpoint import Authentication, Provider
from fiso_cli.clouds.plan import apply
from fiso_cli.doctor.finding import Verdict
from tests.functional.clouds.doctor_rig import (
    APP,
    EMAIL,
    HOST,
    POOL,
    SCOPE,
    SERVICE,
    SUBSCRIPTION,
    Clouds,
    a_project,
    a_subscription,
)
from tests.functional.clouds.trust_rig import ACCOUNT, PROJECT, TENANT, trusts
from tests.functional.lease_servers import serving


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clouds]:
    with trusts(tmp_path_factory.mktemp("clouds")) as trust:
        clouds = Clouds(trust=trust, arm=a_subscription())
        with serving(clouds.respond) as arm:
            clouds.arm_url = arm.url
            a_project(trust)
            apply(trust.azure(hosts=(HOST,)), lambda _: None, sleep=lambda _: None)
            apply(trust.google(), lambda _: None, sleep=lambda _: None)
            pool = POOL.removeprefix("iam/").replace(PROJECT, ACCOUNT)
            clouds.variables |= {
                "FISO_AZURE_TENANT": TENANT,
                "FISO_AZURE_CLIENT": _named(clouds, "fiso-prod")["appId"],
                "FISO_GOOGLE_PROVIDER": f"{pool}/providers/fiso-prod",
                "FISO_GOOGLE_SERVICE_ACCOUNT": EMAIL,
            }
            yield clouds


@pytest.fixture
def here(made: Clouds, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clouds]:
    """All is well, whatever was done to it before."""
    for name, value in {
        "FISO_ARM_ENDPOINT": made.arm_url,
        "FISO_GRAPH_ENDPOINT": made.trust.graph_url,
        "FISO_GOOGLE_ENDPOINT": made.trust.google_url,
        "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    parts = [
        (made, ("arm", "endpoints", "variables", "statuses", "skew_s")),
        (made.trust, ("is_federated",)),
        (made.trust.directory, ("applications", "principals", "credentials", "assignments")),
        (made.trust.world, ("things", "policies", "enabled", "denied", "projects")),
    ]
    before = [(part, name, deepcopy(getattr(part, name))) for part, names in parts for name in names]
    yield made
    for part, name, value in before:
        setattr(part, name, value)


def test_all_that_is_well_is_told_so(here: Clouds) -> None:
    found = here.look("azure", "gcp")
    assert [(each.check, each.what) for each in found if each.verdict is not Verdict.OK] == []
    assert len({each.check for each in found}) == 17


class Seed(NamedTuple):
    """What somebody did, the check that finds it, words of the finding and of what mends it."""

    check: str
    says: str
    mends: str
    seed: Callable[[Clouds], object]


def _app(here: Clouds) -> Any:
    return here.arm[f"{SCOPE}/providers/Microsoft.Web/sites"]["value"][0]["properties"]


def _auth(here: Clouds) -> Any:
    return here.arm[f"{APP}/config/authsettingsV2"]["properties"]


def _role(here: Clouds) -> Any:
    return here.arm[f"{SCOPE}/providers/Microsoft.Authorization/permissions"]["value"][0]


def _usage(here: Clouds) -> Any:
    return here.arm[f"{SCOPE}/providers/Microsoft.Web/locations/eastus/usages"]["value"][0]


def _named(here: Clouds, name: str) -> Any:
    return next(each for each in here.trust.directory.applications.values() if each["displayName"] == name)


def _say(provider: Provider, **changes: Any) -> Callable[[Clouds], object]:
    def seed(here: Clouds) -> None:
        here.endpoints = [replace(each, **changes) if each.provider is provider else each for each in here.endpoints]

    return seed


def _audiences(here: Clouds, value: list[str]) -> None:
    _auth(here)["identityProviders"]["azureActiveDirectory"]["validation"]["allowedAudiences"] = value


ON_AZURE = {
    "disabled": Seed(
        "identity", "is Disabled", "az account", lambda h: h.arm["/subscriptions"]["value"][0].update(state="Disabled")
    ),
    "none of yours": Seed(
        "identity", "none of yours", "az account list", lambda h: h.arm["/subscriptions"].update(value=[])
    ),
    "no rights": Seed(
        "rights",
        "Microsoft.Web/sites/write",
        "az role assignment create",
        lambda h: _role(h).update(actions=["*/read"]),
    ),
    "a right taken": Seed(
        "rights",
        "roleAssignments/write",
        "az role assignment",
        lambda h: _role(h).update(notActions=["Microsoft.Authorization/*/Write"]),
    ),
    "not registered": Seed(
        "providers",
        "Microsoft.Insights",
        "az provider register --namespace Microsoft.Insights",
        lambda h: h.arm[f"{SCOPE}/providers/Microsoft.Insights"].update(registrationState="NotRegistered"),
    ),
    "no such region": Seed(
        "regions", "no region mars", "az account list-locations", _say(Provider.AZURE, region="mars")
    ),
    "no Flex there": Seed(
        "regions", "no Flex Consumption", "list-flexconsumption-locations", _say(Provider.AZURE, region="westeurope")
    ),
    "quota": Seed("quota", "eastus: 90 of 100", "Quotas", lambda h: _usage(h).update(currentValue=90)),
    "stopped": Seed("apps", "is stopped", "az functionapp start", lambda h: _app(h).update(state="Stopped")),
    "http": Seed("apps", "without TLS", "httpsOnly=true", lambda h: _app(h).update(httpsOnly=False)),
    "many at once": Seed(
        "apps",
        "16 requests at once",
        "perInstanceConcurrency=1",
        lambda h: _app(h)["functionAppConfig"]["scaleAndConcurrency"]["triggers"]["http"].update(
            perInstanceConcurrency=16
        ),
    ),
    "another size": Seed(
        "apps",
        "has 2048 MB",
        "memory_mb",
        lambda h: _app(h)["functionAppConfig"]["scaleAndConcurrency"].update(instanceMemoryMB=2048),
    ),
    "old Python": Seed(
        "apps", "Python 3.9", "--python 3.13", lambda h: _app(h)["functionAppConfig"]["runtime"].update(version="3.9")
    ),
    "not there": Seed(
        "apps",
        "no app at other.azurewebsites.net",
        "fiso deploy azure",
        _say(Provider.AZURE, address="https://other.azurewebsites.net"),
    ),
    "door open": Seed(
        "apps", "lets everybody in", "fiso deploy azure", lambda h: _auth(h)["platform"].update(enabled=False)
    ),
    "login page": Seed(
        "apps",
        "login page",
        "Return401",
        lambda h: _auth(h)["globalValidation"].update(unauthenticatedClientAction="RedirectToLoginPage"),
    ),
    "another host's": Seed("apps", "does not take tokens", "fiso deploy azure", lambda h: _audiences(h, ["api://x"])),
    "any host's": Seed(
        "apps", "takes tokens for", "fiso deploy azure", lambda h: _audiences(h, [f"api://{TENANT}/{HOST}", "api://x"])
    ),
    "asks, catalog does not": Seed(
        "apps", "asks for a token", "authentication: entra", _say(Provider.AZURE, authentication=Authentication.NONE)
    ),
    "federation off": Seed(
        "trust", "outbound identity federation", "fiso trust azure", lambda h: setattr(h.trust, "is_federated", False)
    ),
    "another role trusted": Seed(
        "trust",
        "federated credential",
        "fiso trust azure",
        lambda h: next(iter(h.trust.directory.credentials[_named(h, "fiso-prod")["id"]].values())).update(
            subject="arn:aws:iam::1:role/x"
        ),
    ),
    "host not entered": Seed(
        "trust",
        "hosts of functions",
        "fiso trust azure",
        lambda h: _named(h, "fiso-prod-functions").update(identifierUris=[]),
    ),
    "tokens of version 2": Seed(
        "trust",
        "api as FISO needs",
        "fiso trust azure",
        lambda h: _named(h, "fiso-prod-functions").update(api={"requestedAccessTokenVersion": 2}),
    ),
    "not deployed with it": Seed(
        "trust", "nothing says azure_tenant", "fiso trust azure", lambda h: h.variables.update(FISO_AZURE_TENANT="")
    ),
    "another application": Seed(
        "trust",
        "says it is application",
        "fiso trust azure",
        lambda h: h.variables.update(FISO_AZURE_CLIENT=SUBSCRIPTION),
    ),
    "clock": Seed("clock", "behind Azure's", "chronyc", lambda h: setattr(h, "skew_s", 400)),
}


def _run(here: Clouds) -> Any:
    return here.trust.world.things[f"run/{SERVICE}"]


def _members(here: Clouds, *members: str) -> None:
    here.trust.world.policies[f"run/{SERVICE}"]["bindings"] = [{"role": "roles/run.invoker", "members": [*members]}]


def _off(api: str) -> Callable[[Clouds], object]:
    return lambda here: here.trust.world.enabled[PROJECT].discard(f"{api}.googleapis.com")


ON_GOOGLE = {
    "API off": Seed("apis", "cloudbuild", "gcloud services enable cloudbuild.googleapis.com", _off("cloudbuild")),
    "first API off": Seed(
        "identity", "cloudresourcemanager is not enabled", "gcloud services enable", _off("cloudresourcemanager")
    ),
    "none of yours": Seed(
        "identity", "none of yours", "gcloud projects list", lambda h: h.trust.world.projects.clear()
    ),
    "no rights": Seed(
        "rights",
        "run.services.create",
        "gcloud projects add-iam-policy-binding",
        lambda h: h.trust.world.denied.add("run.services.create"),
    ),
    "a right taken": Seed(
        "rights",
        "iam.serviceAccounts.actAs",
        "gcloud projects add",
        lambda h: h.trust.world.denied.add("iam.serviceAccounts.actAs"),
    ),
    "no such region": Seed("regions", "no region mars1", "gcloud run regions list", _say(Provider.GCP, region="mars1")),
    "not ready": Seed(
        "services",
        "is not ready",
        "gcloud run services describe",
        lambda h: _run(h).update(terminalCondition={"state": "CONDITION_FAILED"}),
    ),
    "internal": Seed(
        "services", "lets nobody in", "--ingress all", lambda h: _run(h).update(ingress="INGRESS_TRAFFIC_INTERNAL_ONLY")
    ),
    "many at once": Seed(
        "services",
        "80 requests at once",
        "--concurrency 1",
        lambda h: _run(h)["template"].update(maxInstanceRequestConcurrency=80),
    ),
    "few instances": Seed(
        "services",
        "takes 5 at once",
        "--max-instances 100",
        lambda h: _run(h)["template"].update(scaling={"maxInstanceCount": 5}),
    ),
    "another size": Seed(
        "services",
        "has 1024 MB",
        "memory_mb",
        lambda h: _run(h)["template"]["containers"][0]["resources"]["limits"].update(memory="1Gi"),
    ),
    "not there": Seed(
        "services",
        "no service at other",
        "fiso deploy gcp",
        _say(Provider.GCP, address="https://other-abc-uk.a.run.app"),
    ),
    "open": Seed(
        "services",
        "lets everybody in",
        "remove-iam-policy-binding",
        lambda h: _members(h, "allUsers", f"serviceAccount:{EMAIL}"),
    ),
    "not let in": Seed("services", f"does not let {EMAIL} in", "add-iam-policy-binding", lambda h: _members(h)),
    "asks, catalog does not": Seed(
        "services",
        "asks for a token",
        "authentication: id_token",
        _say(Provider.GCP, authentication=Authentication.NONE),
    ),
    "pool off": Seed(
        "trust", "fiso-prod", "fiso trust gcp", lambda h: h.trust.world.things[POOL].update(disabled=True)
    ),
    "any role": Seed(
        "trust",
        "attributeCondition",
        "fiso trust gcp",
        lambda h: h.trust.world.things[f"{POOL}/providers/fiso-prod"].pop("attributeCondition"),
    ),
    "somebody's pool": Seed(
        "trust", "is described as", "rename or remove", lambda h: h.trust.world.things[POOL].update(description="mine")
    ),
    "account off": Seed(
        "trust",
        "service account",
        "fiso trust gcp",
        lambda h: h.trust.world.things[f"iam/projects/{PROJECT}/serviceAccounts/{EMAIL}"].update(disabled=True),
    ),
    "nobody bound": Seed(
        "trust",
        "workloadIdentityUser",
        "fiso trust gcp",
        lambda h: h.trust.world.policies.pop(f"iam/projects/{PROJECT}/serviceAccounts/{EMAIL}"),
    ),
    "not deployed with it": Seed(
        "trust", "nothing says google_provider", "fiso trust gcp", lambda h: h.variables.update(FISO_GOOGLE_PROVIDER="")
    ),
    "another provider": Seed(
        "trust",
        "the trust's is another",
        "fiso trust gcp",
        lambda h: h.variables.update(
            FISO_GOOGLE_PROVIDER="projects/1/locations/global/workloadIdentityPools/other/providers/p"
        ),
    ),
}


@pytest.mark.parametrize(
    ("cloud", "seed"),
    [*(("azure", each) for each in ON_AZURE.values()), *(("gcp", each) for each in ON_GOOGLE.values())],
    ids=[*(f"azure {name}" for name in ON_AZURE), *(f"google {name}" for name in ON_GOOGLE)],
)
def test_what_is_wrong_is_found_and_its_mending_named(here: Clouds, cloud: str, seed: Seed) -> None:
    seed.seed(here)
    found = [each for each in here.look(cloud) if each.check == f"{cloud}-{seed.check}"]
    told = [each for each in found if each.verdict is not Verdict.OK and seed.says in each.what]
    assert told, found
    assert any(seed.mends in each.fix for each in told), told


def test_nobody_signed_in_or_nothing_installed_is_one_finding_with_the_way_out(
    here: Clouds, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fiso_cli.clouds.trust import rest

    def nobody(message: str) -> Callable[[], str]:
        def token() -> str:
            raise rest.NotSignedIn(message)

        return token

    for message, fix in (
        (rest.AZURE_EXTRA, "pip install 'fiso-cli[azure]'"),
        (f"nobody is signed in to Azure here: {rest.AZURE_LOGIN}", "az login"),
    ):
        monkeypatch.setattr(rest, "_local_word", nobody(message))
        found = {each.check: each for each in here.look("azure")}
        assert (found["azure-identity"].verdict, found["azure-identity"].fix) == (Verdict.WRONG, fix)
        others = {each.verdict for name, each in found.items() if name != "azure-identity"}
        assert others == {Verdict.SKIPPED}


def test_what_may_not_be_read_is_unknown_and_the_rest_is_looked_at(here: Clouds) -> None:
    here.statuses[f"{SCOPE}/providers/Microsoft.Web/sites"] = 403
    found = {each.check: each for each in here.look("azure")}
    assert found["azure-apps"].verdict is Verdict.UNKNOWN
    assert found["azure-trust"].verdict is Verdict.OK


RULE = f"{SCOPE}/resourceGroups/fiso-prod/providers/Microsoft.Insights/dataCollectionRules/fiso-prod"
DESCRIBED = f"watch/projects/{PROJECT}/metricDescriptors/custom.googleapis.com/fiso_attempts_total"
OWN = f"dcr-{'0' * 32}"


@pytest.mark.parametrize(
    ("is_there", "told", "lost", "verdict", "said"),
    [
        (False, "", 0, Verdict.OK, "none is deployed"),
        (False, "yes", 0, Verdict.WRONG, "nothing is there"),
        (True, "", 0, Verdict.OK, "nobody tells it"),
        (True, "another", 0, Verdict.WRONG, "names another one"),
        (True, "yes", 0, Verdict.OK, "takes what it is told"),
        (True, "yes", 7, Verdict.WRONG, "7 attempts of the last hour were not taken"),
    ],
)
@pytest.mark.parametrize("cloud", ["azure", "gcp"])
def test_monitoring_is_there_and_receives(
    here: Clouds, cloud: str, is_there: bool, told: str, lost: int, verdict: Verdict, said: str
) -> None:
    settings = {
        "azure": f"tenant client https://x/dataCollectionRules/{OWN}/streams/Custom-X",
        "gcp": f"{PROJECT} pool",
    }
    here.archiver = {"FISO_AZURE_MONITORING": "", "FISO_GOOGLE_MONITORING": ""}
    name = {"azure": "FISO_AZURE_MONITORING", "gcp": "FISO_GOOGLE_MONITORING"}[cloud]
    here.archiver[name] = settings[cloud] if told == "yes" else told
    here.lost = lost
    here.arm.pop(RULE, None)
    here.trust.world.things.pop(DESCRIBED, None)
    here.trust.world.enabled[PROJECT].add("monitoring.googleapis.com")
    if is_there:
        here.arm[RULE] = {"properties": {"immutableId": OWN}}
        type_ = DESCRIBED.partition("metricDescriptors/")[2]
        here.trust.world.things[DESCRIBED] = {"name": DESCRIBED.removeprefix("watch/"), "type": type_}
    (found,) = (each for each in here.look(cloud) if each.check == f"{cloud}-monitoring")
    assert (found.verdict, said in found.what) == (verdict, True), found.what


def test_a_host_that_lets_nobody_in_is_found_without_calling_the_function() -> None:
    from fiso_cli.doctor.elsewhere import unreachable

    calls: list[str] = []

    def note(path: str, *_: object) -> tuple[int, dict[str, str], bytes]:
        calls.append(path)
        return 200, {}, b""

    with serving(note) as server:
        assert unreachable(server.url) == ""
    assert "cannot be reached" in unreachable(server.url)
    assert calls == []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert unreachable(f"http://127.0.0.1:{silent.getsockname()[1]}") == ""
