"""A stage's settings: parameters `/fiso/STAGE/NAME` that CloudFormation reads at each deployment
(scripts/serverless/settings.yml): none comes out of the deployer's shell, and none that is missing counts as empty.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from fiso.adapters.aws.errors import code_of, is_missing
from fiso.domain.address import NO_HOSTS, AddressRules, hosts_in
from fiso_cli.errors import BadInput

Clients: TypeAlias = Callable[[str], Any]
"""boto3's clients, by service."""

FIRST = {"endpoint-hosts": NO_HOSTS, "catalog-floor": "0", "accept-older-forms": "0"}
"""What those begin with that nothing else makes. Parameter Store takes no empty value."""
DEPLOYED = {
    "endpoint-hosts": "FISO_ENDPOINT_HOSTS",
    "catalog-floor": "FISO_CATALOG_FLOOR",
    "accept-older-forms": "FISO_ACCEPT_OLDER_FORMS",
    "catalog-keys": "FISO_CATALOG_KEYS",
    "model-keys": "FISO_MODEL_KEYS",
}
"""What the orchestrator of a stage knows them as that was deployed before there were such parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The parameters of one stage. AWS's own errors leave as they are."""

    stage: str
    client: Clients

    def name_of(self, setting: str) -> str:
        return f"/fiso/{self.stage}/{setting}"

    def read(self, setting: str) -> str | None:
        """The value; None when there is none."""
        try:
            found = self.client("ssm").get_parameter(Name=self.name_of(setting))
        except Exception as error:
            if code_of(error) != "ParameterNotFound":
                raise
            return None
        return str(found["Parameter"]["Value"])

    def deployed(self) -> dict[str, str]:
        """What a stage that stands was deployed with, where it says anything; it goes on."""
        try:
            found = self.client("lambda").get_function_configuration(FunctionName=f"fiso-{self.stage}-orchestrator")
        except Exception as error:
            if not is_missing(error):
                raise
            return {}
        known = found.get("Environment", {}).get("Variables", {})
        return {setting: known[name] for setting, name in DEPLOYED.items() if known.get(name)}

    def write(self, setting: str, value: str) -> None:
        """Whether it is there or not."""
        self.client("ssm").put_parameter(Name=self.name_of(setting), Value=value, Type="String", Overwrite=True)

    def ensure(self, setting: str, value: str) -> bool:
        """Write it unless it is there already; whether it was written."""
        if self.read(setting) is not None:
            return False
        self.write(setting, value)
        return True


def checked_hosts(text: str) -> str:
    """Hosts of one's own as the setting has them; `BadInput` for what no public host can be."""
    try:
        return " ".join(sorted(AddressRules(own_hosts=hosts_in(text)).own_hosts)) or NO_HOSTS
    except ValueError as error:
        raise BadInput(
            f"--endpoint-hosts: {error}: it takes exact names, as in 'api.example.com b.example.com'"
        ) from error
