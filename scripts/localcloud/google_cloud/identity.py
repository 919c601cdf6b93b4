"""Identity: tokens that a service account signs, and who may call a copy by them. The key is this process's own."""

import secrets
import time
from functools import cache

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from localcloud.google_cloud.handlers import Call, answers, read_policy
from localcloud.google_cloud.world import Document, Refused, World, not_found

ISSUER = "https://accounts.google.com"
LIFETIME_S = 3600


@cache
def _key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


def token(email: str, audience: str, *, lives_s: float = LIFETIME_S) -> str:
    """An identity token of a service account, as Google signs one."""
    now = int(time.time())
    claims = {
        "jti": secrets.token_hex(8),
        "iss": ISSUER,
        "aud": audience,
        "email": email,
        "email_verified": True,
        "sub": email,
    }
    return jwt.encode({**claims, "iat": now, "exp": now + lives_s}, _key(), algorithm="RS256")


OWNER = "local"
"""The word of whoever runs the local cloud, in place of a login."""
_MAY_SIGN = frozenset({"roles/iam.workloadIdentityUser", "roles/iam.serviceAccountOpenIdTokenCreator"})


@answers("iamcredentials.projects.serviceAccounts.generateIdToken", "iam.serviceAccounts.getOpenIdToken")
def generate(call: Call) -> Document:
    """For the owner, or for whoever a federated token stands for, where the account's policy lets that act as it."""
    email = call.name().rpartition("/")[2]
    account = next((name for name in call.world.things if name.endswith(f"/serviceAccounts/{email}")), "")
    if call.bearer != OWNER:
        who, until = call.world.bearers.get(call.bearer, ((), 0.0))
        if call.world.clock() >= until:
            text = "Request had invalid authentication credentials. Expected OAuth 2 access token."
            raise Refused(401, "UNAUTHENTICATED", text)
        bound = read_policy(call.world, account).get("bindings", []) if account else []
        members = {member for each in bound if each["role"] in _MAY_SIGN for member in each["members"]}
        if not members & set(who):
            text = "Permission 'iam.serviceAccounts.getOpenIdToken' denied on resource (or it may not exist)."
            raise Refused(403, "PERMISSION_DENIED", text)
    if not account:
        raise not_found(call.name())
    if call.world.things[account].get("disabled"):
        raise Refused(400, "FAILED_PRECONDITION", f"Service account {email} is disabled.")
    return {"token": token(email, call.body["audience"], lives_s=call.world.lives_s)}


def refusal(world: World, service: str, audience: str, authorization: str) -> int:
    """0 for a caller who may call the service; else the status that Cloud Run answers with."""
    policy = read_policy(world, f"run/{service}")
    members = [
        member
        for each in policy.get("bindings", [])
        if each["role"] == "roles/run.invoker"
        for member in each["members"]
    ]
    if "allUsers" in members:
        return 0
    if not authorization.startswith("Bearer "):
        return 403
    try:
        claims = jwt.decode(
            authorization.removeprefix("Bearer "),
            _key().public_key(),
            algorithms=["RS256"],
            audience=audience,
            issuer=ISSUER,
        )
    except jwt.InvalidTokenError:
        return 401
    return 0 if f"serviceAccount:{claims['email']}" in members else 403
