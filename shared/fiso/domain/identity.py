"""Identities: who FISO is to another cloud, and where that cloud's monitoring takes what it tells. No secret.

Each must be of its form, `ValueError` otherwise: they become part of addresses that credentials are sent to.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

_PROVIDER = re.compile(
    r"projects/[0-9]{1,20}/locations/global/workloadIdentityPools/[a-z0-9-]{4,32}/providers/[a-z0-9-]{4,32}"
)
_ACCOUNT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]@[a-z][a-z0-9.-]{3,60}\.iam\.gserviceaccount\.com")
_PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
_RULE = r"/dataCollectionRules/dcr-[0-9a-f]{32}/streams/[A-Za-z][A-Za-z0-9_-]{1,99}"
_STREAM = re.compile(r"https://[a-z0-9-]+(\.[a-z0-9-]+)*\.ingest\.monitor\.azure\.(com|us|cn)" + _RULE)
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost):\d{1,5}", re.ASCII)
_LOCAL_STREAM = re.compile(_LOOPBACK.pattern + _RULE, re.ASCII)
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleIdentity:
    """The provider of a workload identity pool that trusts FISO's role, and the service account that it may act as;
    without one it is only itself."""

    provider: str
    service_account: str = ""

    def __post_init__(self) -> None:
        if not _PROVIDER.fullmatch(self.provider):
            raise ValueError(
                "the provider must be projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER, "
                f"not {self.provider!r}"
            )
        if self.service_account and not _ACCOUNT.fullmatch(self.service_account):
            raise ValueError(
                f"the service account must be NAME@PROJECT.iam.gserviceaccount.com, not {self.service_account!r}"
            )

    @property
    def resource(self) -> str:
        """The provider's full name, which an exchange of tokens is addressed to."""
        return f"//iam.googleapis.com/{self.provider}"


ENTRAS = {
    "public": ("https://login.microsoftonline.com", "api://AzureADTokenExchange"),
    "usgov": ("https://login.microsoftonline.us", "api://AzureADTokenExchangeUSGov"),
    "china": ("https://login.partner.microsoftonline.cn", "api://AzureADTokenExchangeChina"),
}
"""By Azure's clouds: where Entra is, and the audience that a federated credential there asks for
(learn.microsoft.com, "National clouds"; "Federated identity credentials overview")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntraIdentity:
    """FISO's own application in a tenant of Entra: its federated credential trusts the orchestrator's role."""

    tenant: str
    client: str
    cloud: str = "public"

    def __post_init__(self) -> None:
        if self.cloud not in ENTRAS:
            raise ValueError(f"the cloud must be one of {', '.join(ENTRAS)}, not {self.cloud!r}")
        for name, value in (("tenant", self.tenant), ("client", self.client)):
            if not _GUID.fullmatch(value):
                raise ValueError(f"the {name} must be an id as in 8a1f9f5e-2c1b-4a57-9d2e-0c5f6a7b8c9d, not {value!r}")

    @property
    def login(self) -> str:
        return ENTRAS[self.cloud][0]

    @property
    def exchange(self) -> str:
        """Whom the word of FISO's own cloud is for."""
        return ENTRAS[self.cloud][1]

    def audience_of(self, address: str) -> str:
        return entra_audience(self.tenant, address)


AZURE = ("azure_tenant", "azure_client")
GOOGLE = ("google_provider", "google_service_account")
AZURE_CLOUD = "azure_cloud"
NAMES = (*AZURE, *GOOGLE, AZURE_CLOUD)
"""What a catalog's `identities` may say."""


def entra_of(said: Mapping[str, str]) -> EntraIdentity | None:
    """Who FISO is to Entra; None where nothing is said. `ValueError` for half of it, or another form."""
    tenant, client = (said.get(name, "").strip().lower() for name in AZURE)
    cloud = said.get(AZURE_CLOUD, "public")
    return EntraIdentity(tenant=tenant, client=client, cloud=cloud) if tenant or client else None


def google_of(said: Mapping[str, str]) -> GoogleIdentity | None:
    """The same for Google."""
    provider, account = (said.get(name, "").strip() for name in GOOGLE)
    if provider and not account:
        raise ValueError("the service account must be said too: functions let that in, and not the provider")
    return GoogleIdentity(provider=provider, service_account=account) if provider or account else None


def flaws_of(said: Mapping[str, str]) -> dict[str, str]:
    """By its name, what is wrong with each."""
    found = {name: f"is none of {', '.join(NAMES)}" for name in said if name not in NAMES}
    for names, read in ((AZURE, entra_of), (GOOGLE, google_of)):
        try:
            read(said)
        except ValueError as error:
            found[next((name for name in names if name in said), names[0])] = str(error)
    return found


def entra_audience(tenant: str, address: str) -> str:
    """Whom a token is for: one host of an Azure function, as an identifier URI of the application that stands for the
    stage's functions (Entra's "Restrictions on identifier URIs" allow `api://TENANT/…`). Entra gives none for a host
    that nobody entered there."""
    return f"api://{tenant}/{urlsplit(address).netloc.lower()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureMonitoring:
    """The stream of a data collection rule that takes rows, and who may send them; on loopback nobody is asked."""

    url: str
    identity: EntraIdentity | None = None

    @classmethod
    def parsed(cls, text: str, *, is_local: bool) -> Self:
        """`TENANT CLIENT URL`; the URL alone on the local stage."""
        *who, url = text.split()
        if len(who) != (0 if is_local else 2):
            raise ValueError("must be TENANT CLIENT URL")
        return cls(url=url, identity=EntraIdentity(tenant=who[0].lower(), client=who[1].lower()) if who else None)

    def __post_init__(self) -> None:
        if not (_LOCAL_STREAM if self.identity is None else _STREAM).fullmatch(self.url):
            raise ValueError(
                "the URL must be https://NAME.ingest.monitor.azure.com/dataCollectionRules/dcr-ID/streams/STREAM, "
                f"not {self.url[:200]!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleMonitoring:
    """A project whose logs and metrics FISO adds to, and as whom; `url` is a server on loopback for all of Google."""

    project: str
    identity: GoogleIdentity | None = None
    url: str = ""

    @classmethod
    def parsed(cls, text: str, *, is_local: bool) -> Self:
        """`PROJECT PROVIDER`; on the local stage a server in the provider's place."""
        words = text.split()
        if len(words) != 2:
            raise ValueError("must be PROJECT PROVIDER")
        if is_local:
            return cls(project=words[0], url=words[1])
        return cls(project=words[0], identity=GoogleIdentity(provider=words[1]))

    def __post_init__(self) -> None:
        if not _PROJECT.fullmatch(self.project):
            raise ValueError(f"the project must be an id as in my-project-123, not {self.project[:60]!r}")
        if self.identity is None and not _LOOPBACK.fullmatch(self.url):
            raise ValueError("without an identity the server must be http on loopback")
