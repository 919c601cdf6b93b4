"""The local cloud's own side of the local stage: the ports and files that only its processes need."""

from dataclasses import dataclass
from pathlib import Path

from fiso_cli.local_stage import PROVIDERS_FROM, LocalStage, url

PORTS = {
    "emulator": 0,
    "lambda-host": 1,
    "provider-proxy": 3,  # its control API; its listeners begin at PROVIDERS_FROM
    "azure-host": 4,
    "google-host": 5,
    "postgres": 6,
    "stream-pump": 7,
    "issuer": 8,
    "azure-cloud": 9,
    "google-cloud": 15,
    "entra": 16,
}
"""Where each part listens, from the base port on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCloud(LocalStage):
    """One local cloud."""

    def port(self, part: str) -> int:
        """The port on which a part tells its health."""
        return self.base_port + PORTS[part]

    def url(self, part: str) -> str:
        """The address of a part."""
        return url(self.port(part))

    @property
    def provider_base_port(self) -> int:
        """The provider proxy's first listener, which is AWS's."""
        return self.base_port + PROVIDERS_FROM

    @property
    def emulator_environment(self) -> Path:
        """The emulator's own virtual environment; it belongs to the checkout, not to the state."""
        return self.root / ".local" / "ministack"

    @property
    def log_dir(self) -> Path:
        """One log per part."""
        return self.state / "logs"

    @property
    def issuer_dir(self) -> Path:
        """The development issuer's signing key."""
        return self.state / "issuer"
