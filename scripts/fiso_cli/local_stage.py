"""The local stage as everybody else sees it: where its files lie, where it listens, its environment. Starts nothing.

The processes behind it are the local cloud's (`localcloud`, which builds on this); commands, tests and the laboratory
reach them by what stands here.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

from fiso_cli.access_key import NONE_YET, AccessKey
from fiso_cli.errors import CommandError

_HERE = Path(__file__).resolve()
CHECKOUT = _HERE.parents[2] if (_HERE.parents[2] / "serverless.yml").is_file() else Path.cwd()
"""The project's folder: where this was loaded from, or where an installed command runs."""
MODELS = next((path for path in (CHECKOUT / "ml_artifacts", _HERE.with_name("ml_artifacts")) if path.is_dir()), Path())
"""The models of the project, or those that an installed command brings."""
HOST = "127.0.0.1"
DEFAULT_PORT = 4566
PORTS_NEEDED = 20
"""Ports taken from the base port on: ten of the platform, then one per listener of the provider proxy."""
PROVIDERS_FROM = 10
_ROOT = 0
REGION = "us-east-1"
LOCAL_STAGE = "local"
ACCOUNT = "000000000000"
AZURE_TENANT = "f1500000-0000-4000-8000-000000000000"
GOOGLE_PROJECT = "fiso-local"
ISSUERS_AT = "/_aws/issuers"
"""Below it the emulator publishes the keys of `https://….tokens.sts.global.api.aws`, which has no such host here."""
DATABASE = "fiso"
DATABASE_USER = "fiso"


def is_kept_by_us(state: Path) -> bool:
    """Whether nobody else can put another folder in its place: keys are read there, and processes named that are ended.

    No link on the way, and no folder above, is another user's or everybody's to change. Root may work for whoever owns
    the checkout.
    """
    ours = {os.getuid(), _ROOT}
    real = Path(os.path.realpath(state))
    for place in (state, *state.parents, real, *real.parents):
        try:
            found = os.lstat(place)
        except OSError:  # not there yet, or nothing that we may look at
            continue
        is_link, is_sticky = stat.S_ISLNK(found.st_mode), found.st_mode & stat.S_ISVTX
        if found.st_uid not in ours and (is_link or place == real or os.getuid() != _ROOT):
            return False
        if not is_link and found.st_mode & stat.S_IWOTH and not is_sticky and place != real:
            return False
    return True


def project_file(name: str) -> Path:
    """A file of the project; `CommandError` outside its folder."""
    if not (CHECKOUT / name).is_file():
        raise CommandError(f"no {name} in {CHECKOUT}: clone the repository, and run this in its folder")
    return CHECKOUT / name


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStage:
    """One local stage: `root` is the checkout, `state` holds all that is written, `base_port` is its first port."""

    root: Path
    state: Path
    base_port: int

    def __post_init__(self) -> None:
        if not 1024 <= self.base_port <= 65536 - PORTS_NEEDED:
            allowed = f"from 1024 to {65536 - PORTS_NEEDED}"
            raise CommandError(f"FISO_LOCAL_PORT must be {allowed}, not {self.base_port}: unset it for {DEFAULT_PORT}")

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None, root: Path = CHECKOUT) -> Self:
        """What `FISO_LOCAL_DIR` and `FISO_LOCAL_PORT` name; `.local` in the checkout and 4566 otherwise.

        Another port alone means another folder too, `.local/PORT`: two clouds never share one state.
        """
        variables = os.environ if environ is None else environ
        text = variables.get("FISO_LOCAL_PORT", "").strip() or str(DEFAULT_PORT)
        if not (text.isascii() and text.isdigit()):
            raise CommandError(f"FISO_LOCAL_PORT must be a port number, not {text!r}")
        own = root / ".local" if int(text) == DEFAULT_PORT else root / ".local" / text
        state = Path(variables.get("FISO_LOCAL_DIR") or own).expanduser().absolute()
        if not is_kept_by_us(state):
            raise CommandError(
                f"another user could put a folder in the place of {state}: set FISO_LOCAL_DIR to another"
            )
        return cls(root=root, state=state, base_port=int(text))

    @property
    def emulator_url(self) -> str:
        """AWS's control plane, HTTP API, tables, bucket and schedules, for AWS clients and the `serverless` command."""
        return url(self.base_port)

    @property
    def lambda_host_url(self) -> str:
        """Where a command invokes a function directly."""
        return url(self.base_port + 1)

    @property
    def azure_url(self) -> str:
        """The local Azure's Resource Manager."""
        return url(self.base_port + 9)

    @property
    def entra_url(self) -> str:
        """The local Entra: Graph and login."""
        return url(self.base_port + 16)

    @property
    def google_url(self) -> str:
        """The local Google, which stands for all of its hosts, each below its name."""
        return url(self.base_port + 15)

    def provider_url(self, index: int) -> str:
        """The address of the endpoint number `index` in the provider proxy's order, as the orchestrator sees it."""
        return url(self.base_port + PROVIDERS_FROM + index)

    def api_url(self, api_id: str) -> str:
        """The address of a deployed HTTP API; the `serverless` command prints the cloud's instead."""
        return f"{self.emulator_url}/_aws/execute-api/{api_id}/$default"

    @property
    def postgres_dir(self) -> Path:
        """PostgreSQL's data directory and password."""
        return self.state / "postgres"

    @property
    def postgres_port(self) -> int:
        """Where PostgreSQL listens."""
        return self.base_port + 6

    @property
    def database_url(self) -> str:
        """The database with its generated password. `CommandError` before the first `fiso local up`."""
        try:
            password = (self.postgres_dir / "password").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            raise CommandError("the local database does not exist yet: run `fiso local up` first") from None
        return f"postgresql://{DATABASE_USER}:{quote(password, safe='')}@{HOST}:{self.postgres_port}/{DATABASE}"

    @property
    def access_key_file(self) -> Path:
        """The access key that every call must be signed with, readable by the cloud's owner only."""
        return self.state / "access-key"

    @property
    def access_key(self) -> AccessKey:
        """The key of the cloud that runs here; before the first `fiso local up` one that opens nothing."""
        try:
            return AccessKey.read(self.access_key_file)
        except FileNotFoundError:
            return NONE_YET
        except (OSError, ValueError) as error:
            raise CommandError(f"{self.access_key_file} cannot be read: it is of the user who started it") from error

    def aws_environment(self) -> dict[str, str]:
        """What AWS clients and the `serverless` command need to speak to this cloud, and to no other."""
        key = self.access_key
        return {
            "AWS_ENDPOINT_URL": self.emulator_url,
            "AWS_ACCESS_KEY_ID": key.id,
            "AWS_SECRET_ACCESS_KEY": key.secret,
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
