"""What to do about a copy that lets FISO not in: by what it knows FISO by."""

import pytest

from fiso.domain.endpoint import Authentication, Provider
from fiso.services.diagnosis.advice import for_copy, for_verdict
from fiso_client.core.failures import Fault
from tests.builders import an_endpoint


@pytest.mark.parametrize(
    ("provider", "authentication", "named"),
    [
        (Provider.AZURE, Authentication.ENTRA, "`fiso trust azure` mends it"),
        (Provider.AZURE, Authentication.FUNCTION_KEY, "the function key that secret_ref names"),
        (Provider.GCP, Authentication.ID_TOKEN, "`fiso trust gcp` mends it"),
        (Provider.GCP, Authentication.NONE, "roles/run.invoker"),
    ],
)
def test_what_lets_fiso_in_is_named(provider: Provider, authentication: Authentication, named: str) -> None:
    keyed = {"secret_ref": "arn:aws:secretsmanager:us-east-1:000000000000:secret:k"}
    copy = an_endpoint(provider, authentication=authentication, **(keyed if "KEY" in authentication.name else {}))
    for told in (for_copy("status 403", copy, "f"), for_verdict(Fault.CONFIGURATION, copy, "refused", None)):
        assert named in told
    is_trusted = authentication in (Authentication.ENTRA, Authentication.ID_TOKEN)
    assert (named in for_copy("refused", copy, "f")) == is_trusted
