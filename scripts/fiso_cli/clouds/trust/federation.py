"""Federation: AWS gives tokens in which it says who a role is, to the world outside of the account. One switch for a
whole account, which others may rely on too: it is never switched off here."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step
from fiso_cli.errors import CommandError

READ, ENABLE = "iam:GetOutboundWebIdentityFederationInfo", "iam:EnableOutboundWebIdentityFederation"


class Federation:
    """`iam` is boto3's client."""

    def __init__(self, iam: Any) -> None:
        self._iam = iam

    def issuer(self) -> str | None:
        """Who signs those tokens, an https URL of the account's own; None while it is off."""
        from botocore.exceptions import ClientError

        try:
            with _told(READ):
                found = self._iam.get_outbound_web_identity_federation_info()
        except ClientError as error:
            if error.response["Error"]["Code"] in ("FeatureDisabled", "FeatureDisabledException"):
                return None
            raise
        return str(found["IssuerIdentifier"]) if found.get("JwtVendingEnabled", True) else None

    def step(self) -> Step:
        return Step(
            name="AWS: outbound identity federation",
            makes="AWS says who its roles are, in tokens (for the whole account; stays on)",
            look=self._look,
            make=self._make,
        )

    def _look(self) -> Look:
        return ABSENT if self.issuer() is None else AS_WANTED

    def _make(self, _: Say) -> None:
        from botocore.exceptions import ClientError

        try:
            with _told(ENABLE):
                self._iam.enable_outbound_web_identity_federation()
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("FeatureEnabled", "FeatureEnabledException"):
                raise


@contextmanager
def _told(permission: str) -> Iterator[None]:
    """`CommandError` that names the missing permission, and how to give it."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException"):
            raise CommandError(
                f"the permission {permission} is missing: aws iam put-user-policy or your administrator's role, "
                f'with {{"Effect": "Allow", "Action": "{permission}", "Resource": "*"}}'
            ) from error
        raise
    except BotoCoreError as error:
        raise CommandError(f"AWS: {str(error).splitlines()[0]}") from error
