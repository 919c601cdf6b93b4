"""How `fiso.yaml` spells what stores hold, read and written: places to allow and deny, a pin, conditions, presets."""

from collections.abc import Mapping
from dataclasses import MISSING, fields

from fiso.codecs.catalog import endpoint_to_document, terms_to_document
from fiso.codecs.policy import whole_document
from fiso.codecs.typed import Document, Json
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Authentication, Endpoint, Provider
from fiso.domain.policy import Mode, Policy
from fiso.domain.stage_rules import NO_RULES, StageRules
from fiso.domain.strategy import Operator
from fiso_cli.traffic.documents import items, mapping

PRESETS: Mapping[str, Document] = {
    "peak_hours_aws_to_gcp": {
        "name": "peak_hours_aws_to_gcp",
        "when": {"hour_of_day": {"between": [9, 17]}, "function_type": {"is": "batch"}},
        "candidates": {"provider": {"is": "gcp"}},
        "factor": 1.25,
    },
    "weekend_scale_down": {
        "name": "weekend_scale_down",
        "when": {"day_of_week": {"in": [6, 7]}},
        "candidates": {"provider": {"is": "azure"}},
        "factor": 0.7,
    },
    "cold_start_optimization": {
        "name": "cold_start_optimization",
        "when": {},
        "candidates": {"cold_probability": {"at_least": 0.5}},
        "factor": 0.6,
    },
}
"""The brief's three cost strategies. Its conditions are kept; the factors are by argument, fitted to no data: they turn
a choice between candidates that score within a quarter (of 1.25, 1/0.7, 1/0.6) of one another, and no wider one."""

AUTHENTICATIONS: Mapping[Provider, tuple[Authentication, ...]] = {
    Provider.AWS: (Authentication.IAM,),
    Provider.AZURE: (Authentication.NONE, Authentication.FUNCTION_KEY, Authentication.ENTRA),
    Provider.GCP: (Authentication.NONE, Authentication.ID_TOKEN),
}
"""How each provider's endpoints can identify FISO; the first is what a file means that does not say."""

_DEFAULTS = whole_document(Policy(version=0))
_ENDPOINT_DEFAULTS: Document = {each.name: each.default for each in fields(Endpoint) if each.default is not MISSING}
_ASKED = ("when", "candidates")
_PLACES = {"allow": "allowed", "deny": "denied"}


def merged(defaults: Document, own: Document) -> Document:
    """The function's keys over the defaults'. `allow` and `deny` merge key by key, so that a default denial stays."""
    places = {key: {**mapping(defaults.get(key, {})), **mapping(own.get(key, {}))} for key in _PLACES}
    return {**defaults, **own, **{key: listed for key, listed in places.items() if listed}}


def stored_policy(policy: Document) -> Document:
    """A file's policy as stores hold it, with the domain's defaults for what it does not say."""
    found = {**_DEFAULTS, **{key: value for key, value in policy.items() if key not in _PLACES}}
    for key, prefix in _PLACES.items():
        for kind, listed in mapping(policy.get(key, {})).items():
            found[f"{prefix}_{kind}"] = listed
    mode, _, pinned = str(found["mode"]).partition(":")
    idempotent = found["idempotent"]
    word = {True: "yes", False: "no"}[idempotent] if isinstance(idempotent, bool) else idempotent
    strategies: list[Json] = [_stored_strategy(each) for each in items(found["strategies"])]
    return {**found, "mode": mode, "pinned": pinned or None, "idempotent": word, "strategies": strategies}


def _stored_strategy(strategy: Json) -> Document:
    """A file's strategy, or preset by name, as stores hold it."""
    if isinstance(strategy, str):
        return PRESETS[strategy]
    found = mapping(strategy)
    asked = {key: {field: _long(said) for field, said in mapping(found.get(key, {})).items()} for key in _ASKED}
    return {**found, **asked}


def stored_endpoint(endpoint: Document) -> Document:
    """A file's endpoint as stores hold it."""
    by_default = AUTHENTICATIONS[Provider(str(endpoint["provider"]))][0]
    return {**_ENDPOINT_DEFAULTS, "authentication": by_default.value, **endpoint}


def file_of(entries: Mapping[str, CatalogEntry], rules: StageRules = NO_RULES) -> Document:
    """The file that declares these entries: what differs from the defaults."""
    functions: Document = {name: _function(entry) for name, entry in sorted(entries.items())}
    return {"version": 1, **_file_rules(rules), "functions": functions}


def _file_rules(rules: StageRules) -> Document:
    found: Document = {}
    if rules.quotas:
        tenants: Document = dict(sorted(rules.quotas.tenants.items()))
        default: Document = {} if rules.quotas.default is None else {"default": rules.quotas.default}
        found["quotas"] = {**default, **({"tenants": tenants} if tenants else {})}
    found |= {"hosts": [*sorted(rules.hosts)]} if rules.hosts else {}
    return found | ({"identities": dict(sorted(rules.identities.items()))} if rules.identities else {})


STAGE_KEYS = ("quotas", "hosts", "identities")
"""What a file says of its stage as a whole."""


def stored_rules(document: Document) -> Document:
    """A file's `quotas`, `hosts` and `identities` as stores hold them."""
    return {key: document[key] for key in STAGE_KEYS if document.get(key)}


def _function(entry: CatalogEntry) -> Document:
    endpoints: list[Json] = []
    for endpoint in entry.endpoints:
        document = endpoint_to_document(endpoint)
        meant = stored_endpoint({"provider": document["provider"]})
        endpoints.append(
            {key: value for key, value in document.items() if key == "provider" or value != meant.get(key)}
        )
    policy = _file_policy(entry.policy)
    function: Document = {"type": entry.function_type, "endpoints": endpoints}
    if entry.prices is not None:
        function["prices"] = terms_to_document(entry.prices)
    return function | ({"policy": policy} if policy else {})


def _file_policy(policy: Policy) -> Document:
    document = whole_document(policy)
    found: Document = {
        key: {part: said for part, said in value.items() if said is not None} if isinstance(value, dict) else value
        for key, value in document.items()
        if value != _DEFAULTS.get(key)
    }
    for key in ("version", "pinned", "pin"):
        found.pop(key, None)
    for key, prefix in _PLACES.items():
        kinds = {
            kind: found.pop(f"{prefix}_{kind}") for kind in ("providers", "regions") if f"{prefix}_{kind}" in found
        }
        found |= {key: kinds} if kinds else {}
    if policy.mode is Mode.PIN:
        found["mode"] = f"pin:{policy.pinned}"
    if "strategies" in found:
        found["strategies"] = [_preset_or_whole(mapping(each)) for each in items(found["strategies"])]
    return found


def _preset_or_whole(strategy: Document) -> Json:
    name = str(strategy["name"])
    return name if PRESETS.get(name) == strategy else strategy


def _long(said: Json) -> Json:
    """`provider: gcp` means is, `day_of_week: [6, 7]` means in."""
    if isinstance(said, list):
        return {Operator.IN.value: said}
    return said if isinstance(said, dict) else {Operator.IS.value: said}
