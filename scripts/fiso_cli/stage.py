"""Stages: where a command acts. One value knows a stage's names, addresses and AWS session.

    stage = Stage.named("local")
    stage.client("dynamodb").get_item(TableName=stage.log_table, …)
    httpx.post(f"{stage.api_url}/v1/invoke/graph-bfs", …)

`local` is this machine (`fiso local up`): everything comes from its layout. Any other stage is AWS with the user's own
credentials: names follow the stage, the API's address is the stack's output `ApiUrl`, the database is
`FISO_DATABASE_URL`. Nothing is looked up before it is asked for, and each thing once. Whatever AWS or a store refuses
leaves as `CommandError`: the properties here see to it, other calls stand inside `with stage.wrapped_errors():`.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self

from fiso.domain.errors import InvalidCatalog, StoreError, StoreUnavailable
from fiso.settings import LOCAL_STAGE
from fiso_cli.errors import BadInput, CommandError, DatabaseUnreachable
from fiso_cli.local_stage import ACCOUNT, LocalStage
from fiso_client.core.grammar import is_stage

if TYPE_CHECKING:
    import boto3

    from fiso.adapters.postgres.catalog import Connect
    from fiso.ports import CatalogStore

SERVICE = "fiso"
LIVE = "live"
"""The alias by which each function is called."""
DEFAULT_REGION = "us-east-1"
LOCAL_LISTENERS = ("aws", "azure-eastus", "azure-westeurope", "gcp-us-east4", "gcp-europe-west1")
"""What the provider proxies stand before, in the order of their ports."""
LOCAL_AWS_REGIONS = ("us-east-1", "eu-west-1")

SECRET_URL = "secret://"  # nosec B105: a scheme
"""Begins what stands for a database's URL: the secret's name follows, whose field `url` it is."""
PUBLISHED_WITHIN_S = 50.0
"""The keeper's own limit."""

_ISOLATED = {"config_file": "AWS_CONFIG_FILE", "credentials_file": "AWS_SHARED_CREDENTIALS_FILE"}


@dataclass(frozen=True, kw_only=True)  # no slots: what is looked up is kept
class Stage:
    """One deployment of FISO. `local` is the cloud on this machine, on the stage of that name only."""

    name: str
    environ: Mapping[str, str]
    local: LocalStage | None

    @classmethod
    def named(cls, name: str, environ: Mapping[str, str] | None = None) -> Self:
        """The stage of a name; `BadInput` for a name that no stage can have. Touches no network."""
        if not is_stage(name):
            raise BadInput(f"stage {name!r}: must be lower-case letters, digits and -, at most 20, as in local or prod")
        around = os.environ if environ is None else environ
        local = LocalStage.from_environ(around) if name == LOCAL_STAGE else None
        return cls(name=name, environ=around, local=local)

    @property
    def is_local(self) -> bool:
        """Whether this is the cloud on this machine."""
        return self.local is not None

    @property
    def stack_name(self) -> str:
        """The CloudFormation stack, as the serverless command names it."""
        return f"{SERVICE}-{self.name}"

    @property
    def log_table(self) -> str:
        """DynamoDB: invocation records."""
        return f"fiso-invocation-logs-{self.name}"

    @property
    def state_table(self) -> str:
        """DynamoDB: endpoint state."""
        return f"fiso-endpoint-state-{self.name}"

    @property
    def idempotency_table(self) -> str:
        """DynamoDB: idempotency keys."""
        return f"fiso-idempotency-{self.name}"

    @cached_property
    def bucket(self) -> str:
        """S3: policies, models, archive, runs; the stack's word on AWS, where its name may end in the region's."""
        return f"fiso-artifacts-{self.name}-{self.account_id}" if self.is_local else self._output("ArtifactsBucket")

    def function_name(self, function: str) -> str:
        """Lambda: the deployed name of `orchestrator`, `keeper` and so on."""
        return f"fiso-{self.name}-{function}"

    @property
    def region(self) -> str:
        """The region the stack is in."""
        return str(self.session.region_name or DEFAULT_REGION)

    @cached_property
    def session(self) -> "boto3.Session":
        """boto3's session; its `get_credentials()` sign calls to the API. The local one knows no other account."""
        import boto3
        from botocore.session import Session

        with self.wrapped_errors():
            if self.local is None:
                return boto3.Session()
            given = self.local.aws_environment()
            core = Session(session_vars={"profile": (None, None, None, None)})
            for name, variable in _ISOLATED.items():
                core.set_config_variable(name, given[variable])
            return boto3.Session(
                given["AWS_ACCESS_KEY_ID"],
                given["AWS_SECRET_ACCESS_KEY"],
                region_name=given["AWS_REGION"],
                botocore_session=core,
            )

    def client(self, service: str, *, region: str | None = None) -> Any:
        """A boto3 client that gives up within seconds, of this stage's region or another."""
        from botocore.config import Config

        patience = Config(
            connect_timeout=3, read_timeout=15, retries={"total_max_attempts": 2}, max_pool_connections=32
        )
        address = None if self.local is None else self.local.emulator_url
        with self.wrapped_errors():
            return self.session.client(
                service, region_name=region or self.region, endpoint_url=address, config=patience
            )

    @cached_property
    def account_id(self) -> str:
        """The AWS account."""
        with self.wrapped_errors():
            return str(self.client("sts").get_caller_identity()["Account"])

    @cached_property
    def api_url(self) -> str:
        """Where clients call: the HTTP API, or the function URL; `CommandError` when the stage is not deployed."""
        with self.wrapped_errors():
            return (
                self._output("ApiUrl").rstrip("/") if self.local is None else self.local.api_url(self._local_api_id())
            )

    @cached_property
    def gateway_url(self) -> str:
        """Where the console and its API are: the HTTP API, also where clients call a function URL (`api_url`)."""
        if self.local is not None:
            return self.api_url
        with self.wrapped_errors():
            return self._output("GatewayUrl", "ApiUrl")

    @cached_property
    def endpoint_hosts(self) -> str:
        """The operator's own hosts: the setting that functions are deployed with; the environment's where none is."""
        around = self.environ.get("FISO_ENDPOINT_HOSTS", "")
        if self.local is not None:
            return around
        from fiso_cli.setup.settings import Settings

        try:
            with self.wrapped_errors():
                return Settings(stage=self.name, client=self.client).read("endpoint-hosts") or around
        except CommandError:  # who may apply need not be allowed to read it
            return around

    @property
    def database_url(self) -> str:
        """The catalog's PostgreSQL."""
        if self.local is not None:
            return self.local.database_url
        url = self.environ.get("FISO_DATABASE_URL", "").strip()
        if not url:
            raise DatabaseUnreachable(f"FISO_DATABASE_URL is not set: it names the database of stage {self.name}")
        return self.read_url(url)

    def read_url(self, url: str) -> str:
        """A database's URL as it stands, or the one in the secret that it names (`fiso db create`)."""
        if not url.startswith(SECRET_URL):
            return url
        name = url.removeprefix(SECRET_URL)
        with self.wrapped_errors():
            held = self.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]
        try:
            return str(json.loads(held)["url"])
        except (ValueError, KeyError, TypeError):
            raise CommandError(f"secret {name} holds no url: `fiso db create` writes it") from None

    @cached_property
    def connect(self) -> "Connect":
        """How to connect to the catalog's database."""
        from fiso.adapters.postgres.catalog import connect_from_url

        with self.wrapped_errors():
            return connect_from_url(self.database_url, is_local=self.is_local, application_name="fiso-cli")

    def catalog_store(self) -> "CatalogStore":
        """The catalog's store."""
        from fiso.adapters.postgres.catalog import PostgresCatalogStore

        return PostgresCatalogStore(self.connect)

    def invoke(self, function: str, payload: Mapping[str, object], *, within_s: float) -> dict[str, Any]:
        """The answer of one of FISO's own functions, an object; asked once. `CommandError` when it has none."""
        from botocore.config import Config

        # never tried twice: what is still running would be started again
        patience = Config(connect_timeout=3, read_timeout=within_s, retries={"total_max_attempts": 1})
        name = self.function_name(function)
        address = None if self.local is None else self.local.lambda_host_url
        with self.wrapped_errors():
            client = self.session.client("lambda", region_name=self.region, endpoint_url=address, config=patience)
            call = partial(client.invoke, FunctionName=name, Payload=json.dumps(payload).encode())
            try:
                answer = call(Qualifier=LIVE)
            except client.exceptions.ResourceNotFoundException:
                answer = call()  # a stage of before there were aliases
            body = answer["Payload"].read()
        try:
            said = json.loads(body)
        except ValueError as error:
            raise CommandError(f"{name} did not answer with JSON: {body[:80]!r}") from error
        if answer.get("FunctionError") or not isinstance(said, dict):
            fields = said if isinstance(said, dict) else {}
            raise CommandError(f"{name} failed: {str(fields.get('errorMessage') or said)[:300]}")
        return said

    def publish(self) -> int:
        """Have the keeper publish the catalog, who alone may sign it; the version that is published then.
        `StoreUnavailable` with its reason when it does not."""
        try:
            said = self.invoke("keeper", {"publish": True}, within_s=PUBLISHED_WITHIN_S)
        except CommandError as error:
            raise StoreUnavailable(str(error)) from error
        version = said.get("published_version")
        if not isinstance(version, int):
            raise StoreUnavailable(str(said.get("problems")))
        return version

    @property
    def address_variables(self) -> Mapping[str, str]:
        """What addresses in a catalog file may name; the environment's own variables win over this machine's."""
        return {**(_local_addresses(self.local) if self.local else {}), **self.environ}

    @contextmanager
    def wrapped_errors(self) -> Iterator[None]:
        """Turn what AWS and the stores refuse into one line."""
        from botocore.exceptions import BotoCoreError, ClientError

        hint = ": is the local cloud up? (fiso local up)" if self.is_local else ""
        try:
            yield
        except (BotoCoreError, ClientError, StoreError) as error:
            raise CommandError(f"stage {self.name}: {str(error).strip().splitlines()[0]}{hint}") from error
        except InvalidCatalog as error:
            raise CommandError(f"stage {self.name}: {error}") from error

    def _local_api_id(self) -> str:
        # The stack's own output names amazonaws.com; the emulator serves the API under its own address.
        names = {f"{SERVICE}-{self.name}", f"{self.name}-{SERVICE}"}  # the serverless command's default is the second
        pages = self.client("apigatewayv2").get_paginator("get_apis").paginate()
        found = [api["ApiId"] for page in pages for api in page.get("Items", []) if api.get("Name") in names]
        if not found:
            raise CommandError(f"stage {self.name} has no HTTP API yet: deploy it first")
        return str(found[-1])

    def _output(self, *names: str) -> str:
        """One of the stack's outputs, the first of these that there is. `CommandError` when there is none."""
        with self.wrapped_errors():
            stacks = self.client("cloudformation").describe_stacks(StackName=self.stack_name)["Stacks"]
        found = {output["OutputKey"]: str(output["OutputValue"]) for output in stacks[0].get("Outputs", [])}
        for name in names:
            if name in found:
                return found[name]
        raise CommandError(f"stack {self.stack_name} has no output {names[0]}: deploy it again")


def _local_addresses(local: LocalStage) -> dict[str, str]:
    """`FISO_AWS_US_EAST_1_FUNCTION`, `FISO_AZURE_EASTUS_URL` and so on, for the endpoints on this machine."""
    addresses = {
        f"FISO_{_variable(listener)}_URL": local.provider_url(position)
        for position, listener in enumerate(LOCAL_LISTENERS)
        if listener != "aws"
    }
    for region in LOCAL_AWS_REGIONS:
        arn = f"arn:aws:lambda:{region}:{ACCOUNT}:function:fiso-{LOCAL_STAGE}-sample-aws"
        addresses[f"FISO_AWS_{_variable(region)}_FUNCTION"] = arn
    return addresses


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")
