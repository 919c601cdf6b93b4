"""A document against a model of Azure's own SDK for Python (azure-mgmt-web, -storage, -monitor and so on): unknown,
read-only and wrongly typed properties, and values that are none of an enumeration. Older ones have flat maps."""

import enum
import importlib
import warnings
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, ForwardRef, Union, get_args, get_origin

MODELS = {
    "Microsoft.App/containerApps": ("appcontainers", "ContainerApp"),
    "Microsoft.DBforPostgreSQL/flexibleServers": ("postgresqlflexibleservers", "Server"),
    "Microsoft.MachineLearningServices/workspaces/jobs": ("machinelearningservices", "JobBase"),
    "Microsoft.MachineLearningServices/workspaces/computes": ("machinelearningservices", "ComputeResource"),
    "Microsoft.MachineLearningServices/workspaces/environments/versions": (
        "machinelearningservices",
        "EnvironmentVersion",
    ),
    "Microsoft.Web/sites": ("web", "Site"),
    "Microsoft.Web/serverfarms": ("web", "AppServicePlan"),
    "Microsoft.Web/sites/config": ("web", "SiteAuthSettingsV2"),
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": ("web", "CsmPublishingCredentialsPoliciesEntity"),
    "Microsoft.Storage/storageAccounts": ("storage", "StorageAccountCreateParameters"),
    "Microsoft.Storage/storageAccounts/blobServices": ("storage", "BlobServiceProperties"),
    "Microsoft.Storage/storageAccounts/blobServices/containers": ("storage", "BlobContainer"),
    "Microsoft.OperationalInsights/workspaces/tables": ("loganalytics", "Table"),
    "Microsoft.Insights/actionGroups": ("monitor", "ActionGroupResource"),
    "Microsoft.Insights/dataCollectionRules": ("monitor", "DataCollectionRuleResource"),
    "Microsoft.Insights/scheduledQueryRules": ("monitor", "ScheduledQueryRuleResource"),
    "Microsoft.Insights/workbooks": ("applicationinsights.v2023_06_01", "Workbook"),
    "Microsoft.ManagedIdentity/userAssignedIdentities": ("msi", "Identity"),
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials": (
        "msi",
        "FederatedIdentityCredential",
    ),
}
ENVELOPE = frozenset({"type", "apiVersion", "name", "dependsOn"})


def problems(resource: Mapping[str, Any]) -> list[str]:
    """What of a resource does not fit; KeyError for a type without a model here."""
    package, name = MODELS[resource["type"]]
    with warnings.catch_warnings(action="ignore"):  # of escapes in its texts, where it is compiled for the first time
        models = importlib.import_module(f"azure.mgmt.{package}.models")
    given = {key: value for key, value in resource.items() if key not in ENVELOPE}
    return list(_of_model(models, getattr(models, name), given, name))


def _of_model(models: ModuleType, model: Any, given: Any, where: str) -> Iterator[str]:
    if not isinstance(given, Mapping):
        yield f"{where} is not an object"
        return
    if hasattr(model, "_attribute_map"):
        yield from _of_map(models, model, given, where)
        return
    model({})  # its fields are only known once there is one
    hints = {
        name: hint for kind in reversed(model.__mro__) for name, hint in getattr(kind, "__annotations__", {}).items()
    }
    fields = {field._rest_name: (attribute, field) for attribute, field in model._attr_to_rest_field.items()}
    for name, value in given.items():
        if name not in fields:
            yield f"{where}.{name} is unknown"
            continue
        attribute, field = fields[name]
        if field._visibility == ["read"]:
            yield f"{where}.{name} is read-only"
        else:
            yield from _of_hint(models, hints[attribute], value, f"{where}.{name}")


def _of_map(models: ModuleType, model: Any, given: Mapping[str, Any], where: str) -> Iterator[str]:
    """Of a model whose fields are told by their paths: `properties.displayName`."""
    model = _kind(models, model, given)
    fields = {attribute: told["key"].split(".") for attribute, told in model._attribute_map.items()}
    inner = {way[0] for way in fields.values() if len(way) == 2}
    flat = {(name,): each for name, each in given.items() if name not in inner}
    flat |= {(name, part): each for name in inner & set(given) for part, each in given[name].items()}
    known = {tuple(way): attribute for attribute, way in fields.items()}
    for way, value in flat.items():
        attribute, at = known.get(way), f"{where}.{'.'.join(way)}"
        if attribute is None:
            yield f"{at} is unknown"
        elif model._validation.get(attribute, {}).get("readonly"):
            yield f"{at} is read-only"
        else:
            yield from _of_word(models, model._attribute_map[attribute]["type"], value, at)
    for attribute, rules in model._validation.items():
        if rules.get("required") and tuple(fields[attribute]) not in flat and attribute != "location":
            yield f"{where}.{attribute} is missing"


def _kind(models: ModuleType, model: Any, given: Mapping[str, Any]) -> Any:
    """Of a model with kinds the one that a word in what is given names."""
    for attribute, kinds in getattr(model, "_subtype_map", {}).items():
        name = kinds.get(given.get(model._attribute_map[attribute]["key"]))
        return getattr(models, name) if name else model
    return model


_PLAIN: Mapping[str, Any] = {
    "str": str,
    "int": int,
    "bool": bool,
    "float": (int, float),
    "duration": str,
    "iso-8601": str,
}


def _of_word(models: ModuleType, kind: str, given: Any, where: str) -> Iterator[str]:
    """A type as such maps name it: `[Condition]`, `{str}`, `str`, or a model."""
    if kind.startswith("["):
        for number, each in enumerate(given if isinstance(given, list) else [given]):
            yield from _of_word(models, kind[1:-1], each, f"{where}[{number}]")
    elif kind.startswith("{"):
        for name, each in given.items():
            yield from _of_word(models, kind[1:-1], each, f"{where}.{name}")
    elif kind in _PLAIN:
        if not isinstance(given, _PLAIN[kind]) or (isinstance(given, bool) and kind != "bool"):
            yield f"{where} is not {kind}"
    elif kind not in ("object", "rfc-1123"):
        yield from _of_model(models, getattr(models, kind), given, where)


def _of_hint(models: ModuleType, hint: Any, given: Any, where: str) -> Iterator[str]:
    hint = _resolved(models, hint)
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Union:
        kinds = [_resolved(models, each) for each in parts if each is not type(None)]
        yield from _of_hint(models, next((each for each in kinds if _is_enum(each)), kinds[0]), given, where)
    elif origin is list:
        yield from _of_list(models, parts[0], given, where)
    elif origin is dict:
        for name, each in given.items():
            yield from _of_hint(models, parts[1], each, f"{where}.{name}")
    elif hasattr(hint, "_deserialize"):
        yield from _of_model(models, hint, given, where)
    else:
        yield from _of_plain(hint, given, where)


def _of_list(models: ModuleType, hint: Any, given: Any, where: str) -> Iterator[str]:
    if not isinstance(given, list):
        yield f"{where} is not a list"
        return
    for number, each in enumerate(given):
        yield from _of_hint(models, hint, each, f"{where}[{number}]")


def _of_plain(hint: Any, given: Any, where: str) -> Iterator[str]:
    if _is_enum(hint):
        if given not in {each.value for each in hint}:
            yield f"{where} is {given!r}, none of {hint.__name__}"
    elif hint in (str, int, bool) and type(given) is not hint:
        yield f"{where} is not {hint.__name__}"


def _resolved(models: ModuleType, hint: Any) -> Any:
    """A model or an enumeration that is named in text, as generated code does."""
    text = hint.__forward_arg__ if isinstance(hint, ForwardRef) else hint
    return eval(text, {"_models": models}) if isinstance(text, str) else hint


def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, enum.Enum)
