"""The local cloud's layout: where its files lie and on which ports it listens. Starts nothing."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

from fiso_cli.errors import CommandError

CHECKOUT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
DEFAULT_PORT = 4566
PORTS_NEEDED = 20
"""Ports taken from the base port on: ten of the platform, then one per listener of the provider proxy."""
REGION = "us-east-1"
ACCOUNT = "000000000000"
DATABASE = "fiso"
DATABASE_USER = "fiso"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCloud:
    """One local cloud: `root` is the checkout, `state` holds everything it writes, `base_port` is its first port."""

    root: Path
    state: Path
    base_port: int

    def __post_init__(self) -> None:
        if not 1024 <= self.base_port <= 65536 - PORTS_NEEDED:
            allowed = f"from 1024 to {65536 - PORTS_NEEDED}"
            raise CommandError(f"FISO_LOCAL_PORT must be {allowed}, not {self.base_port}: unset it for {DEFAULT_PORT}")

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None, root: Path = CHECKOUT) -> Self:
        """The cloud that `FISO_LOCAL_DIR` and `FISO_LOCAL_PORT` name; `.local` in the checkout and 4566 otherwise."""
        variables = os.environ if environ is None else environ
        state = Path(variables.get("FISO_LOCAL_DIR") or root / ".local").expanduser().absolute()
        text = variables.get("FISO_LOCAL_PORT", "").strip() or str(DEFAULT_PORT)
        if not (text.isascii() and text.isdigit()):
            raise CommandError(f"FISO_LOCAL_PORT must be a port number, not {text!r}")
        return cls(root=root, state=state, base_port=int(text))

    # Ports

    @property
    def emulator_port(self) -> int:
        """AWS's control plane, HTTP API, tables, bucket and schedules."""
        return self.base_port

    @property
    def lambda_host_port(self) -> int:
        """The Invoke API of the Lambda host, and where the emulator sends its invocations."""
        return self.base_port + 1

    @property
    def call_recorder_port(self) -> int:
        """The recorder of SDK calls, listening only after `up --record-calls`."""
        return self.base_port + 2

    @property
    def provider_control_port(self) -> int:
        """The provider proxy's control API: faults and health."""
        return self.base_port + 3

    @property
    def azure_port(self) -> int:
        """The Azure host, behind the provider proxy."""
        return self.base_port + 4

    @property
    def google_port(self) -> int:
        """The functions framework, behind the provider proxy."""
        return self.base_port + 5

    @property
    def postgres_port(self) -> int:
        """PostgreSQL."""
        return self.base_port + 6

    @property
    def stream_pump_port(self) -> int:
        """The stream pump's health."""
        return self.base_port + 7

    @property
    def issuer_port(self) -> int:
        """The development issuer of tokens, listening only after `up --issuer`."""
        return self.base_port + 8

    @property
    def provider_base_port(self) -> int:
        """The provider proxy's first listener, which is AWS's."""
        return self.base_port + 10

    def provider_port(self, index: int) -> int:
        """The listener of the profile's endpoint number `index`, counted from 0."""
        return self.provider_base_port + index

    # Addresses

    @property
    def emulator_url(self) -> str:
        """Where AWS clients and the `serverless` command go."""
        return url(self.emulator_port)

    @property
    def lambda_host_url(self) -> str:
        """Where a command invokes a function directly."""
        return url(self.lambda_host_port)

    @property
    def call_recorder_url(self) -> str:
        """Where functions go instead of the emulator while calls are recorded."""
        return url(self.call_recorder_port)

    @property
    def issuer_url(self) -> str:
        """The development issuer, as its tokens name it."""
        return url(self.issuer_port)

    @property
    def azure_url(self) -> str:
        """The Azure host without the proxy."""
        return url(self.azure_port)

    @property
    def google_url(self) -> str:
        """The functions framework without the proxy."""
        return url(self.google_port)

    def provider_url(self, index: int) -> str:
        """The address of the profile's endpoint number `index`, as the orchestrator sees it."""
        return url(self.provider_port(index))

    def api_url(self, api_id: str) -> str:
        """The address of a deployed HTTP API; the `serverless` command prints the cloud's instead."""
        return f"{self.emulator_url}/_aws/execute-api/{api_id}/$default"

    @property
    def database_url(self) -> str:
        """The database with its generated password. `CommandError` before the first `fiso local up`."""
        try:
            password = self.password_file.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            raise CommandError("the local database does not exist yet: run `fiso local up` first") from None
        return f"postgresql://{DATABASE_USER}:{quote(password, safe='')}@{HOST}:{self.postgres_port}/{DATABASE}"

    # Files

    @property
    def provider_profile(self) -> Path:
        """The emulated distances and cold starts, one entry per listener of the provider proxy."""
        return self.root / "scripts" / "localcloud" / "profile.yaml"

    @property
    def emulator_environment(self) -> Path:
        """The emulator's own virtual environment; it belongs to the checkout, not to the state."""
        return self.root / ".local" / "ministack"

    @property
    def log_dir(self) -> Path:
        """One log per component."""
        return self.state / "logs"

    @property
    def emulator_dir(self) -> Path:
        """What the emulator keeps: its state at a graceful stop, the bucket's objects at once."""
        return self.state / "emulator"

    @property
    def lambda_cache_dir(self) -> Path:
        """Unpacked functions and layers."""
        return self.state / "lambda"

    @property
    def checkpoints_file(self) -> Path:
        """How far the stream pump has delivered."""
        return self.state / "pump" / "checkpoints.json"

    @property
    def calls_file(self) -> Path:
        """The SDK calls that were recorded, one JSON document a line."""
        return self.state / "calls" / "calls.jsonl"

    @property
    def google_dir(self) -> Path:
        """Where the functions framework's server keeps its control socket."""
        return self.state / "google"

    @property
    def issuer_dir(self) -> Path:
        """The development issuer's signing key."""
        return self.state / "issuer"

    @property
    def postgres_dir(self) -> Path:
        """PostgreSQL's data directory and password."""
        return self.state / "postgres"

    @property
    def password_file(self) -> Path:
        """The database's password, generated once, readable by its owner only."""
        return self.postgres_dir / "password"

    def aws_environment(self) -> dict[str, str]:
        """What AWS clients and the `serverless` command need to speak to this cloud, and to no other."""
        return {
            "AWS_ENDPOINT_URL": self.emulator_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",  # nosec B105 # the emulator takes any
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": f"{HOST},localhost",
            "no_proxy": f"{HOST},localhost",
            # the deployment polls CloudFormation; its default of 5 s is most of a local deployment's time
            "SLS_AWS_MONITORING_FREQUENCY": "200",
            "SLS_TELEMETRY_DISABLED": "1",
            "SLS_NOTIFICATIONS_MODE": "off",
        }

    def client_environment(self, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """A whole environment for a child that speaks to this cloud: the caller's, without its own AWS account."""
        variables = os.environ if environ is None else environ
        own = {name: value for name, value in variables.items() if not name.startswith("AWS_")}
        return own | self.aws_environment()


def url(port: int) -> str:
    """An address on this machine."""
    return f"http://{HOST}:{port}"
