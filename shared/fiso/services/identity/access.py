"""Access: the one place that says who a request's caller is. Before anything else of the request is looked at.

Only what the gateway verified (IAM) or what verifies here (a token) counts; headers, body and path name nobody. That it
was the gateway is shown by a word that it adds to each request, of which this code knows the hash alone: whoever may
invoke the function can write the rest of an event (docs/decisions/0023-what-the-gateway-says.md).
"""

import hmac
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from fiso.domain.access import ANYONE, EVERYTHING, AuthMode, Claims, IamTenant, Scope, SigningKey
from fiso.domain.errors import NotAuthenticated, StoreUnavailable, TokensNotSetUp
from fiso.domain.request import TenantId
from fiso.ports import Clock, IssuerKeys, TokenVerifier
from fiso.services.freshness.cached import CachedValue, StoreWaitBudget, staleness_clock
from fiso.services.freshness.health import PartHealth, tokens_health

KEYS_FRESH_S = 300.0
KEYS_STALE_S = 3_600.0
"""A key that an issuer withdrew still counts for at most this long while the issuer can be read, and for as long as it
cannot: an issuer that does not answer must not lock everybody out."""
UNKNOWN_KEY_S = 60.0
"""An unknown key id makes the issuer's keys be read again, at most this often, whoever asks."""
GATEWAY_WORD = "x-fiso-gateway"
"""The header that the gateway writes over whatever a caller sent under this name. It goes no further than here."""
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +(?P<token>[A-Za-z0-9._~+/=-]+)")
OF_A_TENANT = frozenset({Scope.INVOKE, Scope.READ})
_ACCOUNT = re.compile(r"[0-9]{12}")
_ARN = re.compile(r"arn:[a-z-]+:(iam|sts)::[0-9]{12}:[\x21-\x7e]{1,1024}")
# A role's ARN as STS writes it has no path, a user's has; each name is one in an account whatever its path.
_NAMED = re.compile(
    r"arn:aws(?:-[a-z]+)*:(?:"
    r"sts::(?P<role_account>[0-9]{12}):assumed-role/(?P<role>[A-Za-z0-9_+=,.@-]{1,64})/(?P<session>[A-Za-z0-9_+=,.@-]{2,64})|"
    r"iam::(?P<user_account>[0-9]{12}):user/(?:[\x21-\x7e]{1,510}/)?(?P<user>[A-Za-z0-9_+=,.@-]{1,64}))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerCredentials:
    """What a request shows of its caller: its `authorization` header, what the gateway put beside the request, and the
    word by which it shows that it did."""

    authorization: str | None
    iam: object = None
    gateway_word: object = field(default=None, repr=False)


class IssuerKeyCache:
    """The port `SigningKeys` over what was read last."""

    def __init__(self, issuer: IssuerKeys, *, clock: Clock, executor: Executor) -> None:
        stopwatch = staleness_clock(clock)
        self._budget, self._stopwatch = StoreWaitBudget(executor, stopwatch=stopwatch), stopwatch
        self._asked_again_at_s = float("-inf")
        self._cached: CachedValue[Mapping[str, SigningKey]] = CachedValue(
            "issuer's keys", lambda _: issuer.read(), budget=self._budget, stale_s=KEYS_STALE_S
        )

    def find(self, id: str) -> SigningKey | None:
        """The key of an id. One that is not known may be new, so the keys are read once more for it."""
        self._budget.renew()
        keys = self._cached.get_or_wait()
        if keys is None:
            raise StoreUnavailable("the issuer's keys could not be read yet")
        return keys.get(id) or self._once_more(id)

    def refresh_in_background(self) -> None:
        self._cached.refresh_in_background(oldest_s=KEYS_FRESH_S)

    def await_pending(self) -> None:
        self._budget.await_pending()

    @property
    def is_failing(self) -> bool:
        """Whether the issuer could not be read when it was asked last, or lets FISO wait."""
        return self._cached.problem is not None

    @property
    def are_known(self) -> bool:
        return self._cached.value is not None

    def _once_more(self, id: str) -> SigningKey | None:
        now_s = self._stopwatch()
        if now_s - self._asked_again_at_s < UNKNOWN_KEY_S:
            return None
        self._asked_again_at_s = now_s
        return (self._cached.force_refresh() or {}).get(id)


class NoVerifier:
    """The port `TokenVerifier` where nothing can check a token: it lets nobody in."""

    def verify(self, token: str) -> Claims:
        raise TokensNotSetUp("tokens cannot be checked here at present")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How this stage knows its callers. `gateway_hashes` are of the words that its gateway may add; without any, nobody
    is known by a signature, and others are not asked for one. `url_account` is the stage's own account where the
    function may be called past the gateway, by its URL (docs/decisions/0026). `iam_admins` are the tenants that hold
    `fiso:admin` where roles are tenants, `iam_session_roles` the roles of which each session is one. `verifier` is made
    when the first token is shown; `can_check`: whether what it needs is installed."""

    mode: AuthMode
    gateway_hashes: frozenset[str] = frozenset()
    url_account: str = ""
    iam_tenant: IamTenant = IamTenant.ACCOUNT
    iam_admins: frozenset[str] = frozenset()
    iam_session_roles: frozenset[str] = frozenset()
    verifier: Callable[[], TokenVerifier] | None = None
    keys: IssuerKeyCache | None = None
    can_check: Callable[[], bool] = lambda: True

    def caller(self, credentials: CallerCredentials) -> Claims:
        """The caller. `NotAuthenticated` when there is none; the verifier's own errors pass."""
        if (self.gateway_hashes or self.mode is AuthMode.IAM) and not self._is_handed_on(credentials.gateway_word):
            if self.mode is AuthMode.IAM and self.url_account:
                return somebody_of(self.url_account, credentials.iam)
            raise NotAuthenticated("the request does not come from the gateway")
        if self.mode is AuthMode.NONE:
            return ANYONE
        if self.mode is AuthMode.IAM:
            if self.iam_tenant is IamTenant.ROLE:
                return signed_role(credentials.iam, admins=self.iam_admins, by_session=self.iam_session_roles)
            return signed_caller(credentials.iam)
        found = _BEARER.fullmatch(credentials.authorization or "")
        if found is None or self.verifier is None:
            raise NotAuthenticated("no bearer token")
        return self.verifier().verify(found["token"])

    def _is_handed_on(self, word: object) -> bool:
        if not isinstance(word, str):
            return False
        found = sha256(word.encode("utf-8", "replace")).hexdigest().encode()
        return any(hmac.compare_digest(found, known.encode()) for known in self.gateway_hashes)

    def refresh_in_background(self) -> None:
        if self.keys is not None:
            self.keys.refresh_in_background()

    def await_pending(self) -> None:
        if self.keys is not None:
            self.keys.await_pending()

    def health(self) -> tuple[PartHealth, ...]:
        """How the checking of tokens is; nothing where none is checked."""
        if self.keys is None:
            return ()
        can_check, keys = self.can_check(), self.keys
        return (tokens_health(can_check=can_check, has_keys=keys.are_known, is_failing=keys.is_failing),)

    @property
    def challenge(self) -> str:
        """The `WWW-Authenticate` of a 401: the same for every reason."""
        return "AWS4-HMAC-SHA256" if self.mode is AuthMode.IAM else 'Bearer realm="fiso"'


def somebody_of(account: str, iam: object) -> Claims:
    """Who calls past the gateway: by the function's URL, whose signature Lambda has verified, or by Invoke.

    Nothing of such an event is proved but that IAM let its sender call this function: who that was, anybody writes who
    may invoke. So all of them are one caller, the stage's own account, whatever the event says; one that says another
    account, or none, is refused. IAM knows no paths here: what changes a stage is not called this way.
    """
    said = iam.get("accountId") if isinstance(iam, Mapping) else None
    if said != account:
        raise NotAuthenticated(
            "the request does not come from the gateway, nor from this account by the function's URL"
        )
    return Claims(subject=f"account/{account}", tenant=TenantId(account), scopes=OF_A_TENANT)


def signed_caller(iam: object) -> Claims:
    """The caller whose signature the gateway verified (`requestContext.authorizer.iam`). The tenant is the account.

    IAM's own policies say which routes a principal may call, so every scope is held.
    """
    # Of the whole event only this was verified by the gateway, so only this is read
    # (docs/decisions/0010-who-may-call.md).
    account, arn = (iam.get("accountId"), iam.get("userArn")) if isinstance(iam, Mapping) else (None, None)
    if not _matches(_ACCOUNT, account) or not _matches(_ARN, arn):
        raise NotAuthenticated("the gateway authenticated nobody")
    return Claims(subject=str(arn), tenant=TenantId(str(account)), scopes=EVERYTHING)


def signed_role(
    iam: object, *, admins: frozenset[str] = frozenset(), by_session: frozenset[str] = frozenset()
) -> Claims:
    """The same where a role is a tenant, by its name, and an IAM user too, as `user/NAME`. `admins` are tenants that
    may see what is everybody's; others hold no `fiso:admin`, or one tenant would see the next one's records.

    A session's name is the word of whoever assumed the role, and not looked at; but of roles `by_session`, whose trust
    policies say what it must be (docs/decisions/0010), each session is a tenant: `ROLE/SESSION`.
    Refused: the root user, who is nobody's tenant and should sign nothing, and federated users, whose name is the word
    of whoever asked for their credentials.
    """
    caller = signed_caller(iam)
    found = _NAMED.fullmatch(caller.subject)
    if found is None or caller.tenant not in (found["role_account"], found["user_account"]):
        raise NotAuthenticated("the signature is not of a role or a user of this account")
    tenant = found["role"] or f"user/{found['user']}"
    if found["role"] in by_session:
        tenant = f"{found['role']}/{found['session']}"
    return Claims(
        subject=caller.subject, tenant=TenantId(tenant), scopes=EVERYTHING if tenant in admins else OF_A_TENANT
    )


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
