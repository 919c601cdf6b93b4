"""The site: the stage and what several checks ask of it, each asked once, from several threads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from fiso.codecs.signature import PublicKeys, parsed
from fiso_cli.doctor.stack import Resource, Stack
from fiso_cli.errors import CommandError
from fiso_cli.stage import Stage
from fiso_client.core.failures import FisoError

if TYPE_CHECKING:
    from fiso.domain.catalog import CatalogEntry, Snapshot
    from fiso.domain.endpoint import Endpoint

MISSING_CODES = frozenset(
    {
        "404",
        "NoSuchBucket",
        "NoSuchEntity",
        "NoSuchKey",
        "NotFound",
        "NotFoundException",
        "ParameterNotFound",
        "ResourceNotFoundException",
        "StackNotFoundException",
        "ValidationError",
    }
)


def code_of(error: ClientError) -> str:
    """AWS's own word for what it refused."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_missing(error: ClientError) -> bool:
    return code_of(error) in MISSING_CODES


@dataclass(kw_only=True)
class Site:
    """One stage under examination. `caller` and `stack` are set by the checks of that name, before the others run."""

    stage: Stage
    caller: str | None = None
    stack: Stack | None = None
    seconds_off: float | None = None
    only_clouds: frozenset[str] = frozenset()
    """Those that were asked for; none: those that the catalog names."""
    elsewhere: dict[str, Any] = field(default_factory=dict)
    """Of Azure and Google: whom to ask, set by their checks of identity."""
    _lock: RLock = field(default_factory=RLock)
    _clients: dict[tuple[str, str | None], Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.stage.name

    def client(self, service: str, *, region: str | None = None) -> Any:
        """One client per service and region: sessions are not to be used by several threads, clients are."""
        with self._lock:
            if (service, region) not in self._clients:
                self._clients[service, region] = self.stage.client(service, region=region)
            return self._clients[service, region]

    @property
    def deployed(self) -> Stack:
        """The stack, for checks that run only where there is one."""
        if self.stack is None:
            raise RuntimeError("there is no stack")
        return self.stack

    @cached_property
    def functions(self) -> Mapping[str, tuple[Resource, Mapping[str, Any]]]:
        """By the short names (`keeper`) of those that are there: what was deployed, and what is."""
        with self._lock:
            found = {}
            for resource in self.deployed.of_kind("AWS::Lambda::Function"):
                try:
                    there = self.client("lambda").get_function_configuration(FunctionName=resource.name)
                except ClientError as error:
                    if not is_missing(error):
                        raise
                    continue
                found[resource.name.removeprefix(f"fiso-{self.name}-")] = (resource, there)
            return found

    def variables(self, function: str) -> Mapping[str, str]:
        """The environment of a deployed function; none where it is not there."""
        known = self.functions.get(function)
        return {} if known is None else known[1].get("Environment", {}).get("Variables", {})

    @cached_property
    def clouds(self) -> frozenset[str]:
        """Which clouds are looked at."""
        if self.only_clouds:
            return self.only_clouds
        try:
            entries = self.catalog.functions.values() if self.stack is not None and self.catalog is not None else ()
        except (ClientError, BotoCoreError, FisoError, CommandError, ValueError, KeyError):
            entries = ()  # the catalog's own check tells
        return frozenset({"aws", *(each.provider.value for entry in entries for each in self.own_copies(entry))})

    def own_copies(self, entry: "CatalogEntry") -> "list[Endpoint]":
        """Those of a function that are in a cloud: on the local stage the samples' hosts are in none."""
        hosts = [url for name, url in self.stage.address_variables.items() if name.endswith("_URL")]
        named = [url for url in hosts if url.startswith("http://127.0.0.1:")] if self.stage.is_local else []
        return [each for each in entry.endpoints if not any(each.address.startswith(url) for url in named)]

    @cached_property
    def identities(self) -> Mapping[str, str]:
        """Who FISO is elsewhere: as the catalog says, else as the orchestrator was deployed."""
        from fiso.domain.identity import AZURE, AZURE_CLOUD, GOOGLE

        variables = ("FISO_AZURE_TENANT", "FISO_AZURE_CLIENT", "FISO_GOOGLE_PROVIDER", "FISO_GOOGLE_SERVICE_ACCOUNT")
        found = {
            name: self.variables("orchestrator").get(each, "")
            for name, each in zip((*AZURE, *GOOGLE), variables, strict=True)
        }
        said = (self.catalog.rules.identities if self.catalog else None) or {}
        for names in ((*AZURE, AZURE_CLOUD), GOOGLE):
            if any(name in said for name in names):
                found |= {name: said.get(name, "") for name in names}
        return found

    @property
    def bucket(self) -> str:
        return self.deployed.names.get("Artifacts") or self.stage.bucket

    def trusted(self, function: str, signed: str) -> PublicKeys:
        """The public halves that a function trusts for `catalog` or `models`. `ValueError` for what is none."""
        return parsed(
            self.variables(function).get({"catalog": "FISO_CATALOG_KEYS", "models": "FISO_MODEL_KEYS"}[signed], "")
        )

    @cached_property
    def catalog(self) -> "Snapshot | None":
        """The published catalog, whoever signed it; None when nothing is published."""
        from fiso.adapters.aws.s3 import Bucket
        from fiso.codecs.catalog import snapshot_from_json

        with self._lock:
            objects = Bucket(self.client("s3"), self.bucket)
            pointer = objects.read_json("policies/current.json")
            body = None if pointer is None else objects.read(f"policies/{pointer.get('version')}.json")
            return None if body is None else snapshot_from_json(body)


def redeploy(site: Site) -> str:
    """The command that brings a stage to what its files say."""
    return f"serverless deploy --stage {site.name}"


def listed(names: Sequence[str], most: int = 4) -> str:
    """`a, b, c and 3 more`."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
