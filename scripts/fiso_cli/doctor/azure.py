"""Checks of Azure: who asks, what that may do, what the subscription has, each function app, and the trust in it."""

import os
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from fiso.domain.endpoint import Authentication, Endpoint, Provider
from fiso.domain.identity import AZURE, AZURE_CLOUD
from fiso_cli.clouds.trust.rest import Refused, Rest, arm, graph
from fiso_cli.doctor import elsewhere
from fiso_cli.doctor.elsewhere import copies, lacking
from fiso_cli.doctor.finding import Finding, ok, unknown, warning, wrong
from fiso_cli.doctor.site import Site, listed

CLOUD = "azure"
NEEDED = (
    *("Microsoft.Resources/deployments/write", "Microsoft.Web/sites/write", "Microsoft.Web/serverfarms/write"),
    *("Microsoft.Storage/storageAccounts/write", "Microsoft.Insights/components/write"),
    *("Microsoft.OperationalInsights/workspaces/write", "Microsoft.Authorization/roleAssignments/write"),
)
PROVIDERS = (
    *("Microsoft.Web", "Microsoft.Storage", "Microsoft.Insights", "Microsoft.OperationalInsights"),
    "Microsoft.Authorization",
)
SITES, LOCATIONS = "2024-11-01", "2022-12-01"
Flaw: TypeAlias = tuple[bool, Callable[..., Finding], str, str, str]
FULL = 0.8
"""A quota that is used up so far is told."""
OLDEST_PYTHON = (3, 10)


def identity(site: Site) -> Iterator[Finding]:
    """Who asks, and of which subscription. Without an answer nothing else of Azure is looked at."""
    rest = arm(site.stage.local.azure_url if site.stage.local else "")
    known = {each["subscriptionId"]: each for each in rest.listed(f"/subscriptions?api-version={LOCATIONS}")}
    named = os.environ.get("AZURE_SUBSCRIPTION_ID", "") or (next(iter(known)) if len(known) == 1 else "")
    if named not in known:
        said = f"subscription {named} is none of yours" if named else f"which of {len(known)} subscriptions is not said"
        choose = "az account list --output table, then export AZURE_SUBSCRIPTION_ID=…"
        yield wrong(said, why="nothing of Azure can be looked at", fix=choose)
        return
    site.elsewhere[CLOUD] = (rest, f"/subscriptions/{named}")
    found = known[named]
    if found.get("state") != "Enabled":
        yield wrong(
            f"subscription {found.get('displayName')} is {found.get('state')}",
            why="its functions are stopped, or will be",
            fix="see its bill in the portal: az account show",
        )
    else:
        yield ok(f"subscription {found.get('displayName')}")


def _asked(site: Site) -> tuple[Rest, str]:
    found: tuple[Rest, str] = site.elsewhere[CLOUD]
    return found


def clock(site: Site) -> Iterator[Finding]:
    yield from elsewhere.clock(_asked(site)[0], "Azure")


def rights(site: Site) -> Iterator[Finding]:
    """What a deployment needs, of what Azure says that one may."""
    rest, scope = _asked(site)
    path = f"{scope}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"
    given = list(rest.listed(path))
    missing = [each for each in NEEDED if not any(_covers(grant, each) for grant in given)]
    assign = f"az role assignment create --assignee YOU --role Owner --scope {scope}/resourceGroups/fiso-{site.name}"
    yield lacking(missing, "you may deploy functions", "you may not", assign)


def _covers(grant: Mapping[str, Any], action: str) -> bool:
    def named(key: str) -> bool:
        return any(fnmatchcase(action.lower(), str(each).lower()) for each in grant.get(key, []))

    return named("actions") and not named("notActions")


def providers(site: Site) -> Iterator[Finding]:
    rest, scope = _asked(site)
    found = {each: rest.find(f"{scope}/providers/{each}?api-version=2021-04-01") or {} for each in PROVIDERS}
    off = [name for name, each in found.items() if each.get("registrationState") != "Registered"]
    mend = " && ".join(f"az provider register --namespace {each} --wait" for each in off)
    yield lacking(off, f"{len(PROVIDERS)} resource providers are registered", "not registered", mend)


def regions(site: Site) -> Iterator[Finding]:
    """Whether there are such regions, and Flex Consumption in them."""
    rest, scope = _asked(site)
    wanted = sorted({str(each.region) for each in copies(site, Provider.AZURE)})
    known = {each["name"] for each in rest.listed(f"{scope}/locations?api-version={LOCATIONS}")}
    sold = rest.listed(f"{scope}/providers/Microsoft.Web/geoRegions?sku=FlexConsumption&api-version={SITES}")
    flex = {str(each["name"]).replace(" ", "").lower() for each in sold}
    for region in wanted:
        if region not in known:
            choose = "az account list-locations --query '[].name', and correct it in fiso.yaml"
            yield wrong(f"there is no region {region}", why="its price and its distance are unknown", fix=choose)
        elif region not in flex:
            choose = "az functionapp list-flexconsumption-locations"
            yield warning(f"{region} has no Flex Consumption", why="fiso deploy azure cannot go there", fix=choose)
    if set(wanted) <= known & flex:
        yield ok(f"regions {listed(wanted)}" if wanted else "no region is named")


def quota(site: Site) -> Iterator[Finding]:
    """How much of what a region may hold is used."""
    rest, scope = _asked(site)
    near = []
    for region in sorted({str(each.region) for each in copies(site, Provider.AZURE)}):
        for each in rest.listed(f"{scope}/providers/Microsoft.Web/locations/{region}/usages?api-version={SITES}"):
            used, most = float(each.get("currentValue", 0)), float(each.get("limit", 0))
            if most > 0 and used >= FULL * most:
                near.append(f"{region}: {used:.0f} of {most:.0f} {each.get('name', {}).get('value')}")
    ask = "az quota update, or the portal under Quotas"
    yield lacking(near, "quotas of functions leave room", "quotas are nearly used up", ask)


def apps(site: Site) -> Iterator[Finding]:
    """Each function app that the catalog names, as it is set."""
    rest, scope = _asked(site)
    asked = copies(site, Provider.AZURE)
    found = list(rest.listed(f"{scope}/providers/Microsoft.Web/sites?api-version={SITES}")) if asked else []
    by_host = {str(host).lower(): each for each in found for host in _hosts(each)}  # locally with a port
    problems = 0
    for endpoint in asked:
        app = by_host.get(urlsplit(endpoint.address).netloc.lower())
        told = [_elsewhere(endpoint)] if app is None else list(_app(site, rest, app, endpoint))
        problems += len(told)
        yield from told
    if not problems:
        yield ok(f"{len(asked)} function apps are as they should be")


def _hosts(app: Mapping[str, Any]) -> list[Any]:
    properties = app.get("properties", {})
    return [properties.get("defaultHostName"), *properties.get("hostNames", [])]


def _elsewhere(endpoint: Endpoint) -> Finding:
    host = urlsplit(endpoint.address).hostname
    return unknown(
        f"{endpoint.id}: no app at {host} in this subscription",
        fix="fiso deploy azure, or export AZURE_SUBSCRIPTION_ID of where it is",
    )


def _app(site: Site, rest: Rest, app: Mapping[str, Any], endpoint: Endpoint) -> Iterator[Finding]:
    id = str(app["id"])
    name = id.rpartition("/")[2]
    at = f"--resource-group {id.split('/')[4]} --name {name}"
    for is_so, verdict, said, why, fix in _flaws(app.get("properties", {}), endpoint, at):
        if is_so:
            yield verdict(f"{endpoint.id}: {name} {said}", why=why, fix=fix)
    yield from _login(site, rest, id, endpoint, at)


def _flaws(properties: Mapping[str, Any], endpoint: Endpoint, at: str) -> Iterator[Flaw]:
    """Whether it is so, how bad that is, what to say of the app, why it matters and what mends it."""
    config = properties.get("functionAppConfig") or {}
    scale, runtime = config.get("scaleAndConcurrency") or {}, config.get("runtime") or {}
    at_once = ((scale.get("triggers") or {}).get("http") or {}).get("perInstanceConcurrency")
    memory, python = scale.get("instanceMemoryMB"), str(runtime.get("version") or "")
    version = tuple(int(part) for part in python.split(".") if part.isdecimal())
    is_off = properties.get("state") != "Running" or properties.get("enabled") is False
    state, start = str(properties.get("state")).lower(), f"az functionapp start {at}"
    yield is_off, wrong, f"is {state}", "each call of it fails", start
    tls = f"az functionapp update {at} --set httpsOnly=true"  # nosec B608: no SQL
    yield (
        properties.get("httpsOnly") is False,
        wrong,
        "takes requests without TLS",
        "tokens may be read on the way",
        tls,
    )
    scaled = f"az functionapp scale config set {at} --trigger-type http --trigger-settings perInstanceConcurrency=1"
    said = f"takes {at_once} requests at once in an instance"
    yield at_once not in (None, 1), warning, said, "its latency is then that of its neighbours, too", scaled
    said, mend = (
        f"has {memory} MB, fiso.yaml says {endpoint.memory_mb}",
        "correct memory_mb in fiso.yaml, then fiso apply",
    )
    yield memory not in (None, endpoint.memory_mb), wrong, said, "it is priced and predicted as another", mend
    is_old = runtime.get("name") == "python" and bool(version) and version < OLDEST_PYTHON
    yield is_old, warning, f"runs Python {python}", "which Azure ends", "fiso deploy azure again, with --python 3.13"


def _login(site: Site, rest: Rest, id: str, endpoint: Endpoint, at: str) -> Iterator[Finding]:
    """Whether App Service authentication asks for what FISO sends."""
    try:
        asked = rest.find(f"{id}/config/authsettingsV2?api-version={SITES}") or {}
    except Refused as refused:
        yield unknown(f"{endpoint.id}: its authentication cannot be read: {refused.status}")
        return
    properties = asked.get("properties", {})
    rules, entra = (
        properties.get("globalValidation") or {},
        (properties.get("identityProviders") or {}).get("azureActiveDirectory") or {},
    )
    is_on = bool((properties.get("platform") or {}).get("enabled") and rules.get("requireAuthentication"))
    again = "fiso deploy azure again, with --application-id as fiso trust azure tells it"
    if endpoint.authentication is not Authentication.ENTRA:
        if is_on:
            why = "each call of it is 401"
            yield wrong(
                f"{endpoint.id}: asks for a token, fiso.yaml says {endpoint.authentication}",
                why=why,
                fix="authentication: entra",
            )
        elif endpoint.authentication is Authentication.NONE:
            yield warning(f"{endpoint.id}: lets everybody in", why="whoever knows its address may call it", fix=again)
        return
    audiences = (entra.get("validation") or {}).get("allowedAudiences") or []
    tenant = site.identities["azure_tenant"]
    wanted = f"api://{tenant}/{urlsplit(endpoint.address).netloc}"
    if not is_on or not entra.get("enabled", True):
        yield wrong(f"{endpoint.id}: lets everybody in, fiso.yaml says entra", why="its door is open", fix=again)
    elif rules.get("unauthenticatedClientAction") not in (None, "Return401"):
        mend = f"az webapp auth update {at} --action Return401"
        yield warning(f"{endpoint.id}: sends who has no token to a login page", why="FISO sees a redirect", fix=mend)
    elif tenant and wanted not in audiences:
        yield wrong(f"{endpoint.id}: does not take tokens for {wanted}", why="each call of it is 401", fix=again)
    elif tenant and len(audiences) > 1:
        why = "a token for another host is good here, too"
        yield warning(f"{endpoint.id}: takes tokens for {listed(audiences)}", why=why, fix=again)


def trust(site: Site) -> Iterator[Finding]:
    """What makes Entra believe AWS's word, where a copy asks for it."""
    from fiso_cli.clouds.trust.entra import Entra, Wanted
    from fiso_cli.clouds.trust.federation import Federation

    asking = [each for each in copies(site, Provider.AZURE) if each.authentication is Authentication.ENTRA]
    known = site.identities
    fix = f"fiso trust azure --stage {site.name} --tenant {known['azure_tenant'] or 'TENANT'}"
    if not asking and not known["azure_tenant"]:
        yield ok("no copy asks for a token of Entra")
        return
    yield from elsewhere.settings(site, AZURE, fix)
    if not known["azure_tenant"]:
        return
    federation = Federation(site.client("iam"))
    role = str(site.functions["orchestrator"][1]["Role"])
    wanted = Wanted(
        stage=site.name,
        tenant=known["azure_tenant"].lower(),
        roles={site.stage.region: role},
        hosts=[urlsplit(each.address).netloc for each in asking],
        cloud=known.get(AZURE_CLOUD) or "public",
        issuer=federation.issuer,
    )
    local = site.stage.local.entra_url if site.stage.local else ""
    entra = Entra(graph(local, wanted.cloud), wanted)
    yield from elsewhere.trust([federation.step(), *entra.steps()], fix)
    if (client := entra.client()) and client != known["azure_client"].lower():
        yield wrong(
            f"the orchestrator says it is application {known['azure_client']}, Entra has {client}",
            why="it gets no token",
            fix=f"{fix} && fiso apply --stage {site.name}",
        )


reach = partial(elsewhere.reach, provider=Provider.AZURE)
