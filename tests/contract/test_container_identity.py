"""Who a container on Google or Azure is to functions on all three clouds, without a key: what it asks, and of whom.

Each request is held against the one that the vendor's own library makes: google-auth, azure-identity, botocore.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from azure.identity import ManagedIdentityCredential
from botocore.serialize import create_serializer
from botocore.session import get_session
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import compute_engine, identity_pool
from google.auth.transport.requests import Request as GoogleRequest

from fiso.adapters.aws.lambda_caller import LambdaCaller
from fiso.adapters.aws.web_identity import LASTS_S, WebIdentityCredentials
from fiso.adapters.http.callers import HttpCaller
from fiso.adapters.identity.container_identity import (
    AzureContainer,
    Container,
    GoogleContainer,
    OwnIdTokens,
    storage_bearer,
    word_for,
)
from fiso.adapters.identity.entra_identity import FOR_ENTRA, EntraTokens
from fiso.adapters.identity.google_identity import SIGNED_TOKEN, GoogleIdTokens, Subject
from fiso.domain.endpoint import Authentication, Provider
from fiso.testing.clock import ManualClock
from fiso_client.core.failures import Failure, Fault, ProviderError
from fiso_client.core.signing import AwsEndpoint, SignedService
from fiso_client.core.transport import HttpTransport, TransportError
from tests.builders import a_request, an_endpoint
from tests.contract import entra_services, google_services
from tests.functional.lease_servers import serving

Answer = tuple[int, dict[str, str], bytes]
ROLE, AUDIENCE = "arn:aws:iam::123456789012:role/fiso-prod-door", "api://fiso-door"
ACCOUNT, REGION = "fiso-door@example-project.iam.gserviceaccount.com", "eu-west-1"
SUBJECT = "104857600000000000000"
ISSUERS = {"google": "https://accounts.google.com", "azure": "https://login.microsoftonline.com/t/v2.0"}


@dataclass
class Clouds:
    """A container's address for tokens, and AWS's STS and Lambda; `key` signs what the container's cloud says."""

    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    url: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    assumed: list[dict[str, str]] = field(default_factory=list)
    refusal: Answer | None = None
    invoked: list[str] = field(default_factory=list)

    def tokens(self, path: str, headers: dict[str, str], _: bytes) -> Answer:
        self.asked.append((path, headers))
        if self.refusal is not None:
            return self.refusal
        asked = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        if headers.get("metadata-flavor") == "Google":
            if "recursive" in asked:
                return _json({"email": ACCOUNT})
            if "/identity" in path:
                return (
                    200,
                    {"metadata-flavor": "Google", "content-type": "text/html"},
                    self.word("google", asked["audience"]).encode(),
                )
            return _json({"access_token": "ya29.own", "expires_in": 3_599, "token_type": "Bearer"})
        if headers.get("x-identity-header") != "h" or asked.get("api-version") != "2019-08-01":
            return 400, {}, b"{}"
        token, ends = self.word("azure", asked["resource"]), datetime.now(UTC) + timedelta(hours=1)
        said = {"access_token": token, "expires_on": str(int(ends.timestamp())), "expires_in": "3600"}
        return _json(said | {"resource": asked["resource"], "token_type": "Bearer"})

    def word(self, cloud: str, audience: str) -> str:
        now = datetime.now(UTC)
        claims = {"iss": ISSUERS[cloud], "sub": SUBJECT, "aud": audience, "iat": now, "exp": now + timedelta(hours=1)}
        return jwt.encode({**claims, "email": ACCOUNT, "jti": secrets.token_hex(8)}, self.key, algorithm="RS256")

    def trusts(self, token: str, audience: str) -> bool:
        try:
            return bool(jwt.decode(token, self.key.public_key(), algorithms=["RS256"], audience=audience))
        except jwt.InvalidTokenError:
            return False

    def sts(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """AssumeRoleWithWebIdentity, unsigned."""
        asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.assumed.append(asked)
        if "authorization" in headers or not self.trusts(asked["WebIdentityToken"], AUDIENCE):
            return entra_services.aws_error(400, "InvalidIdentityToken")
        ends = (datetime.now(UTC) + timedelta(seconds=LASTS_S)).strftime("%Y-%m-%dT%H:%M:%SZ")
        keys = {"AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "s+/=", "SessionToken": "t+/==", "Expiration": ends}
        found = "".join(f"<{name}>{value}</{name}>" for name, value in keys.items())
        return 200, {"content-type": "text/xml"}, f"<R><Credentials>{found}</Credentials></R>".encode()

    def invoke(self, path: str, headers: dict[str, str], _: bytes) -> Answer:
        """Lambda, for the role's keys alone."""
        if headers.get("x-amz-security-token") != "t+/==" or "ASIAEXAMPLE/" not in headers["authorization"]:
            return 403, {"x-amzn-errortype": "AccessDeniedException"}, b"{}"
        self.invoked.append(path)
        return _json({"statusCode": 200, "body": "ok"})


@pytest.fixture
def clouds() -> Iterator[Clouds]:
    made = Clouds()
    with serving(made.tokens) as server:
        made.url = server.url
        yield made


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    made = HttpTransport()
    yield made
    made.close()


def container_of(cloud: str, clouds: Clouds, transport: HttpTransport) -> Container:
    if cloud == "google":
        return GoogleContainer(transport, url=clouds.url)
    environ = {"IDENTITY_ENDPOINT": f"{clouds.url}/msi/token", "IDENTITY_HEADER": "h", "AZURE_CLIENT_ID": "c"}
    return AzureContainer(transport, environ)


BOTH = pytest.mark.parametrize("cloud", ["google", "azure"])


@BOTH
def test_a_functions_door_on_azure_gets_a_token_of_fisos_application(
    cloud: str, clouds: Clouds, transport: HttpTransport
) -> None:
    with entra_services.azure() as entra:
        entra.aws_key, entra.issuer, entra.subject = clouds.key, ISSUERS[cloud], SUBJECT
        tokens = EntraTokens(
            entra_services.IDENTITY,
            word=word_for(container_of(cloud, clouds, transport), FOR_ENTRA),
            transport=transport,
            login=entra.login_url,
        )
        with serving(lambda _path, headers, _body: entra.run(server.url, headers)) as server:
            caller = HttpCaller(
                transport, clock=ManualClock(), allow_loopback=True, identities={Authentication.ENTRA: tokens}
            )
            endpoint = an_endpoint(Provider.AZURE, address=server.url, authentication=Authentication.ENTRA)
            assert [caller.call(endpoint, a_request(), timeout_ms=5_000).status for _ in range(3)] == [200] * 3
            assert entra.called_by == [entra_services.IDENTITY.client] * 3
            assert (len(clouds.asked), len(entra.exchanges)) == (1, 1)


def test_on_google_its_own_account_is_shown_and_nobody_else_is_asked(clouds: Clouds, transport: HttpTransport) -> None:
    tokens = OwnIdTokens(GoogleContainer(transport, url=clouds.url), transport)
    endpoint = an_endpoint(Provider.GCP, address="https://f-1.a.run.app/x", authentication=Authentication.ID_TOKEN)
    shown = [tokens.headers(endpoint, timeout_s=2)["authorization"] for _ in range(3)]
    assert len(set(shown)) == len(clouds.asked) == 1
    assert clouds.trusts(shown[0].removeprefix("Bearer "), "https://f-1.a.run.app")
    assert not tokens.due([]), "there is nothing to fetch before an endpoint is known"
    (asked,) = clouds.asked
    clouds.asked.clear()
    sent: Any = GoogleRequest()

    def request(url: str, **options: Any) -> Any:
        """To the local metadata server what Google's own library asks of the real one."""
        return sent(f"{clouds.url}/computeMetadata/{url.partition('/computeMetadata/')[2]}", **options)

    library: Any = compute_engine
    theirs = library.IDTokenCredentials(request, "https://f-1.a.run.app", use_metadata_identity_endpoint=True)
    theirs.refresh(request)
    path, headers = clouds.asked[-1]
    assert (path, headers["metadata-flavor"]) == (asked[0], asked[1]["metadata-flavor"])


def test_from_azure_google_takes_the_managed_identitys_word(clouds: Clouds, transport: HttpTransport) -> None:
    container = container_of("azure", clouds, transport)
    with google_services.google() as google:
        google.trusts = lambda token, _: clouds.trusts(token, AUDIENCE)
        tokens = GoogleIdTokens(
            google_services.IDENTITY,
            subject=Subject(kind=SIGNED_TOKEN, token=lambda within_s: word_for(container, AUDIENCE)(within_s).value),
            transport=transport,
            urls=google.urls,
        )
        endpoint = an_endpoint(Provider.GCP, address="https://f.a.run.app", authentication=Authentication.ID_TOKEN)
        shown = tokens.headers(endpoint, timeout_s=2)
        assert google.run("https://f.a.run.app", dict(shown))[0] == 200
        theirs = identity_pool.Credentials(  # type: ignore[no-untyped-call]
            audience=google_services.IDENTITY.resource,
            subject_token_type=SIGNED_TOKEN,
            token_url=f"{google.urls.tokens}/v1/token",
            credential_source={
                "url": f"{clouds.url}/msi/token?api-version=2019-08-01&resource={AUDIENCE}&client_id=c",
                "headers": {"X-IDENTITY-HEADER": "h"},
                "format": {"type": "json", "subject_token_field_name": "access_token"},
            },
            scopes=["https://www.googleapis.com/auth/cloud-platform"],
        )
        theirs.refresh(GoogleRequest())  # type: ignore[no-untyped-call]
        ours, others = (dict(each) for each in google.exchanges)
        assert ours.pop("subject_token") != others.pop("subject_token")
        assert ours == others
        assert parse_qs(urlsplit(clouds.asked[0][0]).query) == parse_qs(urlsplit(clouds.asked[1][0]).query)


@BOTH
def test_on_aws_it_is_a_role_by_its_own_clouds_word(cloud: str, clouds: Clouds, transport: HttpTransport) -> None:
    with serving(clouds.sts) as sts, serving(clouds.invoke) as functions:
        caller = LambdaCaller(_services(cloud, clouds, transport, sts.url, functions.url), clock=ManualClock())
        for _ in range(3):
            assert caller.call(_on_aws(), a_request(), timeout_ms=5_000).status == 200
        assert len(clouds.invoked) == 3
        (asked,) = clouds.assumed
        operation = get_session().get_service_model("sts").operation_model("AssumeRoleWithWebIdentity")
        given = {name: value for name, value in asked.items() if name not in ("Action", "Version")}
        theirs = create_serializer("query").serialize_to_request(given | {"DurationSeconds": LASTS_S}, operation)
        assert asked == {name: str(value) for name, value in theirs["body"].items()}
        shape = operation.input_shape.members
        assert len(asked["RoleSessionName"]) <= shape["RoleSessionName"].metadata["max"]


@BOTH
def test_with_aws_away_a_copy_there_never_ran(cloud: str, clouds: Clouds, transport: HttpTransport) -> None:
    with serving(clouds.sts) as sts:
        away = sts.url
    caller = LambdaCaller(_services(cloud, clouds, transport, away, away), clock=ManualClock())
    with pytest.raises(ProviderError) as raised:
        caller.call(_on_aws(), a_request(), timeout_ms=5_000)
    assert raised.value.failure is Failure.UNREACHABLE


@pytest.mark.parametrize(
    "refusal",
    [
        (503, {}, b"away"),
        (404, {}, b"no such account"),
        (200, {}, b""),
        (200, {}, b"<html>a page"),
        (200, {}, b'{"access_token": 5, "expires_in": 3600}'),
        (200, {}, b'{"access_token": "a b", "expires_in": 3600}'),
        (200, {}, b'{"access_token": "a", "expires_in": "soon"}'),
        (200, {}, b"[" * 100_000),
    ],
)
@BOTH
def test_what_is_no_token_is_none_and_nothing_ran(
    refusal: Answer, cloud: str, clouds: Clouds, transport: HttpTransport
) -> None:
    clouds.refusal = refusal
    container = container_of(cloud, clouds, transport)
    with pytest.raises(ProviderError) as raised:
        word_for(container, AUDIENCE)(1.0)
    assert raised.value.failure is Failure.UNREACHABLE
    with pytest.raises(TransportError) as unreadable:
        storage_bearer(container)()
    assert unreadable.value.verdict is Fault.FISO


@BOTH
def test_after_a_failure_there_is_a_token_again_and_one_that_ends_is_renewed(
    cloud: str, clouds: Clouds, transport: HttpTransport
) -> None:
    bearer = storage_bearer(container_of(cloud, clouds, transport))
    clouds.refusal = (503, {}, b"not yet")
    with pytest.raises(TransportError):
        bearer()
    clouds.refusal = (200, {"content-type": "application/json"}, b'{"access_token": "first", "expires_in": "1"}')
    assert bearer() == "first"
    clouds.refusal = (200, {"content-type": "application/json"}, b'{"access_token": "next", "expires_in": "3600"}')
    while bearer() == "first":
        time.sleep(0.05)
    asked = len(clouds.asked)
    assert (bearer(), bearer(), len(clouds.asked)) == ("next", "next", asked)


def test_a_managed_identity_is_asked_as_by_azures_own_library(
    clouds: Clouds, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage_bearer(container_of("azure", clouds, transport))()
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{clouds.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "h")
    with ManagedIdentityCredential(client_id="c") as theirs:
        theirs.get_token("https://storage.azure.com/.default")
    ours, others = (parse_qs(urlsplit(path).query) for path, _ in clouds.asked)
    assert ours["resource"] == [f"{others.pop('resource')[0]}/"], "with the slash as without it"
    assert others == {name: value for name, value in ours.items() if name != "resource"}


def _services(
    cloud: str, clouds: Clouds, transport: HttpTransport, sts: str, functions: str
) -> Callable[[str], SignedService]:
    keys = WebIdentityCredentials(
        ROLE,
        session="fiso-prod-door",
        word=word_for(container_of(cloud, clouds, transport), AUDIENCE),
        url=sts,
        transport=transport,
        clock=lambda: datetime.now(UTC),
    )

    def service(region: str) -> SignedService:
        endpoint = AwsEndpoint(service="lambda", region=region, url=functions)
        return SignedService(endpoint=endpoint, credentials=keys, transport=transport, clock=lambda: datetime.now(UTC))

    return service


def _on_aws() -> Any:
    return an_endpoint(Provider.AWS, region=REGION, address=f"arn:aws:lambda:{REGION}:111122223333:function:word-count")


def _json(document: Mapping[str, Any]) -> Answer:
    return 200, {"content-type": "application/json"}, json.dumps(document).encode()
