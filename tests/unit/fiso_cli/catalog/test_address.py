import pytest

from fiso.domain.errors import BadAddress
from fiso_cli.catalog.address import resolved


def test_variables_are_filled_in() -> None:
    variables = {"FISO_AZURE_EASTUS_URL": "https://a.example"}
    assert resolved("${FISO_AZURE_EASTUS_URL}/api/bfs", variables) == "https://a.example/api/bfs"


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("${FISO_AZURE_X_URL}", "FISO_AZURE_X_URL} is not set"),
        ("${FISO_GCP_EMPTY}", "is not set"),
        ("https://evil.example/${FISO_DATABASE_URL}", "must be named FISO_AWS_"),
        ("${AWS_SECRET_ACCESS_KEY}", "must be named FISO_AWS_"),
        ("${}", "must be named"),
        ("https://a.example/${FISO_AWS_X", "never closed"),
    ],
)
def test_only_known_address_variables_may_be_named(address: str, problem: str) -> None:
    secrets = {"FISO_DATABASE_URL": "postgresql://u:p@h/d", "AWS_SECRET_ACCESS_KEY": "s", "FISO_GCP_EMPTY": " "}
    with pytest.raises(BadAddress, match=problem):
        resolved(address, secrets)
