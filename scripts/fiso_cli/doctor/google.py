"""Checks of Google: who asks, what that may do, which APIs are on, each service on Cloud Run, and the trust in it."""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from fiso.domain.endpoint import Authentication, Endpoint, Provider
from fiso.domain.identity import GOOGLE
from fiso_cli.clouds.trust.rest import GoogleApis, Refused
from fiso_cli.doctor import elsewhere
from fiso_cli.doctor.elsewhere import copies, lacking
from fiso_cli.doctor.finding import Finding, ok, unknown, warning, wrong
from fiso_cli.doctor.site import Site, listed
from fiso_cli.local_stage import GOOGLE_PROJECT

CLOUD = "gcp"
NEEDED = (
    *("run.services.create", "run.services.setIamPolicy", "cloudbuild.builds.create"),
    *("artifactregistry.repositories.create", "iam.serviceAccounts.actAs", "storage.buckets.create"),
)
APIS = ("artifactregistry", "cloudbuild", "cloudresourcemanager", "iam", "iamcredentials", "run", "storage", "sts")
INVOKER = "roles/run.invoker"
SHUT = ("INGRESS_TRAFFIC_INTERNAL_ONLY", "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER")
Flaw: TypeAlias = tuple[bool, Callable[..., Finding], str, str, str]


def identity(site: Site) -> Iterator[Finding]:
    """Who asks, and of which project. Without an answer nothing else of Google is looked at."""
    apis, project = GoogleApis(url=site.stage.local.google_url if site.stage.local else ""), _project(site)
    if not project:
        choose = "export GOOGLE_CLOUD_PROJECT=…  # one of: gcloud projects list"
        yield wrong("no project is named", why="nothing of Google can be looked at", fix=choose)
        return
    try:
        found = apis["cloudresourcemanager"].call("GET", f"/v3/projects/{project}")
    except Refused as refused:
        if refused.is_disabled:
            yield wrong(
                f"cloudresourcemanager is not enabled in {project}",
                why="nothing of Google can be looked at",
                fix=f"gcloud services enable cloudresourcemanager.googleapis.com --project {project}",
            )
        elif refused.status in (403, 404):
            choose = "gcloud projects list, and export GOOGLE_CLOUD_PROJECT=…"
            yield wrong(f"project {project} is none of yours", why="nothing of Google can be looked at", fix=choose)
        else:
            raise
        return
    site.elsewhere[CLOUD] = (apis, project)
    if found.get("state") != "ACTIVE":
        undelete = f"gcloud projects undelete {project}"
        yield wrong(f"project {project} is {found.get('state')}", why="its functions are stopped", fix=undelete)
    else:
        yield ok(f"project {project}")


def _project(site: Site) -> str:
    """As it is said, else where the stage's own service account is."""
    if site.stage.is_local:
        return GOOGLE_PROJECT
    email = site.identities["google_service_account"] if site.stack else ""
    return os.environ.get("GOOGLE_CLOUD_PROJECT", "") or email.partition("@")[2].partition(".")[0]


def _asked(site: Site) -> tuple[GoogleApis, str]:
    found: tuple[GoogleApis, str] = site.elsewhere[CLOUD]
    return found


def clock(site: Site) -> Iterator[Finding]:
    yield from elsewhere.clock(_asked(site)[0]["cloudresourcemanager"], "Google")


def rights(site: Site) -> Iterator[Finding]:
    """What a deployment needs, of what Google says that one may."""
    apis, project = _asked(site)
    path = f"/v3/projects/{project}:testIamPermissions"
    given = apis["cloudresourcemanager"].call("POST", path, {"permissions": [*NEEDED]}).get("permissions", [])
    missing = [each for each in NEEDED if each not in given]
    grant = f"gcloud projects add-iam-policy-binding {project} --member user:YOU --role roles/owner"
    yield lacking(missing, "you may deploy functions", "you may not", grant)


def enabled(site: Site) -> Iterator[Finding]:
    apis, project = _asked(site)
    names = "&".join(f"names=projects/{project}/services/{each}.googleapis.com" for each in APIS)
    found = apis["serviceusage"].call("GET", f"/v1/projects/{project}/services:batchGet?{names}").get("services", [])
    on = {str(each["name"]).rpartition("/")[2].partition(".")[0] for each in found if each.get("state") == "ENABLED"}
    off = [each for each in APIS if each not in on]
    mend = f"gcloud services enable {' '.join(f'{each}.googleapis.com' for each in off)} --project {project}"
    yield lacking(off, f"{len(APIS)} APIs are enabled", "not enabled", mend)


def regions(site: Site) -> Iterator[Finding]:
    apis, project = _asked(site)
    wanted = sorted({str(each.region) for each in copies(site, Provider.GCP)})
    known = {
        each["locationId"] for each in apis["artifactregistry"].listed(f"/v1/projects/{project}/locations", "locations")
    }
    for region in [each for each in wanted if each not in known]:
        choose = "gcloud run regions list, and correct it in fiso.yaml"
        yield wrong(f"there is no region {region}", why="its price and its distance are unknown", fix=choose)
    if set(wanted) <= known:
        yield ok(f"regions {listed(wanted)}" if wanted else "no region is named")


def services(site: Site) -> Iterator[Finding]:
    """Each service that the catalog names, as it is set."""
    apis, project = _asked(site)
    asked, problems, known = copies(site, Provider.GCP), 0, dict[str, list[dict[str, Any]]]()
    for endpoint in asked:
        region = str(endpoint.region)
        if region not in known:
            path = f"/v2/projects/{project}/locations/{region}/services"
            known[region] = list(apis["run"].listed(path, "services"))
        found = next((each for each in known[region] if _is_at(each, endpoint)), None)
        told = [_elsewhere(endpoint, project)] if found is None else list(_service(site, apis, found, endpoint))
        problems += len(told)
        yield from told
    if not problems:
        yield ok(f"{len(asked)} services are as they should be")


def _is_at(service: Mapping[str, Any], endpoint: Endpoint) -> bool:
    host = urlsplit(endpoint.address).netloc
    return any(urlsplit(str(each)).netloc == host for each in (service.get("uri"), *service.get("urls", [])))


def _elsewhere(endpoint: Endpoint, project: str) -> Finding:
    return unknown(
        f"{endpoint.id}: no service at {urlsplit(endpoint.address).hostname} in {project}, {endpoint.region}",
        fix="fiso deploy gcp, or export GOOGLE_CLOUD_PROJECT of where it is",
    )


def _service(site: Site, apis: GoogleApis, service: Mapping[str, Any], endpoint: Endpoint) -> Iterator[Finding]:
    name = str(service["name"]).rpartition("/")[2]
    for is_so, verdict, said, why, fix in _flaws(service, name, endpoint):
        if is_so:
            yield verdict(f"{endpoint.id}: {name} {said}", why=why, fix=fix)
    yield from _invokers(site, apis, service, endpoint)


def _flaws(service: Mapping[str, Any], name: str, endpoint: Endpoint) -> Iterator[Flaw]:
    """Whether it is so, how bad that is, what to say of the service, why it matters and what mends it."""
    template = service.get("template") or {}
    containers, scaling = template.get("containers") or [{}], template.get("scaling") or {}
    memory = _megabytes(str(((containers[0].get("resources") or {}).get("limits") or {}).get("memory") or ""))
    at_once, most = template.get("maxInstanceRequestConcurrency"), scaling.get("maxInstanceCount")
    ready = (service.get("terminalCondition") or {}).get("state")
    at = f"gcloud run services update {name} --region {endpoint.region}"
    describe = at.replace("update", "describe")
    yield (
        ready not in (None, "CONDITION_SUCCEEDED"),
        wrong,
        "is not ready",
        "its last revision does not start",
        describe,
    )
    is_shut = service.get("ingress") in SHUT
    yield is_shut, wrong, "lets nobody in from outside", "each call of it is 404", f"{at} --ingress all"
    said = f"takes {at_once} requests at once in an instance"
    why = "its latency is then that of its neighbours, too"
    yield at_once not in (None, 0, 1), warning, said, why, f"{at} --concurrency 1"
    in_all, limit = int(most or 0) * int(at_once or 1), endpoint.concurrency_limit
    said, mend = f"takes {in_all} at once, fiso.yaml says {limit}", f"{at} --max-instances {limit}"
    yield 0 < in_all < limit, warning, said, "beyond that all get 429", mend
    said, mend = (
        f"has {memory} MB, fiso.yaml says {endpoint.memory_mb}",
        "correct memory_mb in fiso.yaml, then fiso apply",
    )
    yield memory not in (None, endpoint.memory_mb), wrong, said, "it is priced and predicted as another", mend


def _megabytes(text: str) -> int | None:
    units = {"Mi": 1, "Gi": 1024}
    return int(text[:-2]) * units[text[-2:]] if text[:-2].isdecimal() and text[-2:] in units else None


def _invokers(site: Site, apis: GoogleApis, service: Mapping[str, Any], endpoint: Endpoint) -> Iterator[Finding]:
    """Who may call it, beside what FISO sends."""
    name = str(service["name"]).rpartition("/")[2]
    policy = apis["run"].call("GET", f"/v2/{service['name']}:getIamPolicy")
    bound = [each for each in policy.get("bindings", []) if each.get("role") == INVOKER]
    members = {member for each in bound for member in each.get("members", [])}
    email = site.identities["google_service_account"]
    bind = f"gcloud run services add-iam-policy-binding {name} --region {endpoint.region} --role {INVOKER} --member"
    if endpoint.authentication is Authentication.ID_TOKEN:
        if members & {"allUsers", "allAuthenticatedUsers"}:
            remove = bind.replace("add-iam", "remove-iam") + " allUsers"
            yield warning(f"{endpoint.id}: {name} lets everybody in", why="fiso.yaml says id_token", fix=remove)
        elif email and f"serviceAccount:{email}" not in members:
            mend = f"{bind} serviceAccount:{email}"
            yield wrong(f"{endpoint.id}: {name} does not let {email} in", why="each call of it is 403", fix=mend)
    elif "allUsers" not in members:
        why = "each call of it is 403"
        yield wrong(
            f"{endpoint.id}: {name} asks for a token, fiso.yaml says none", why=why, fix="authentication: id_token"
        )


def trust(site: Site) -> Iterator[Finding]:
    """What makes Google believe AWS's word, where a copy asks for it."""
    from fiso_cli.clouds.trust.workload_identity import Wanted, WorkloadIdentity

    asking = [each for each in copies(site, Provider.GCP) if each.authentication is Authentication.ID_TOKEN]
    apis, project = _asked(site)
    fix = f"fiso trust gcp --stage {site.name} --project {project}"
    known = site.identities
    if not asking and not known["google_provider"]:
        yield ok("no copy asks for a token of Google's")
        return
    yield from elsewhere.settings(site, GOOGLE, fix)
    role = str(site.functions["orchestrator"][1]["Role"]).rpartition("/")[2]
    wanted = Wanted(stage=site.name, project=project, account=site.deployed.account, roles=[role])
    identity = WorkloadIdentity(apis, wanted)
    yield from elsewhere.trust(list(identity.steps()), fix)
    if (said := known["google_provider"]) and said != identity.provider_name():
        yield wrong(
            f"the orchestrator asks provider {said.rpartition('projects/')[2]}, the trust's is another",
            why="it gets no token, or another stage's",
            fix=f"{fix} && fiso apply --stage {site.name}",
        )


reach = partial(elsewhere.reach, provider=Provider.GCP)
