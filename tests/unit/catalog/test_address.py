import pytest

from fiso.domain.endpoint import Provider
from fiso_cli.catalog.address import BadAddress, check, resolved

ARN = "arn:aws:lambda:us-east-1:000000000000:function:bfs"


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


@pytest.mark.parametrize("address", [ARN, f"{ARN}:live", f"{ARN}:$LATEST", "bfs", "bfs:live"])
def test_a_lambda_function_is_named_by_arn_or_name(address: str) -> None:
    check(address, Provider.AWS, "us-east-1", is_local=False)


@pytest.mark.parametrize(
    ("provider", "address", "problem"),
    [
        (Provider.AWS, "https://x.lambda-url.us-east-1.on.aws/", "ARN or name"),
        (
            Provider.AWS,
            ARN.replace("us-east-1", "eu-west-1"),
            "names region eu-west-1, the endpoint's region is us-east-1",
        ),
        (Provider.AWS, ARN + "\n", "plain ASCII"),
        (Provider.GCP, "http://g.example/bfs", "must be https"),
        (Provider.GCP, "http://127.0.0.1:1/bfs", "must be https"),
        (Provider.GCP, "ftp://g.example", "https URL"),
        (Provider.GCP, "g.example/bfs", "https URL"),
        (Provider.GCP, "https:///bfs", "https URL"),
        (Provider.GCP, "https://g.example:99999/", "no URL"),
        (Provider.GCP, "https://[::1", "no URL"),
        (Provider.AZURE, "https://a.example/api/bfs?code=secret", "secret_ref"),
        (Provider.AZURE, "https://user:secret@a.example/", "secret_ref"),
        (Provider.AZURE, "https://a.example/a b", "without spaces"),
        (Provider.AZURE, "https://localhost/x", "private network"),
        (Provider.AZURE, "https://169.254.169.254/latest", "private network"),
        (Provider.AZURE, "https://[fd00::1]/", "private network"),
        (Provider.AZURE, "https://metadata.google.internal/", "private network"),
    ],
)
def test_addresses_that_must_not_be_called_are_refused(provider: Provider, address: str, problem: str) -> None:
    with pytest.raises(BadAddress, match=problem):
        check(address, provider, "us-east-1", is_local=False)


@pytest.mark.parametrize("host", ["127.0.0.1:4577", "localhost:4577", "[::1]:4577"])
def test_the_local_stage_may_call_this_machine_in_plain_text(host: str) -> None:
    check(f"http://{host}/api/bfs", Provider.AZURE, "eastus", is_local=True)


def test_the_local_stage_calls_no_other_machine_in_plain_text() -> None:
    with pytest.raises(BadAddress, match="this machine only"):
        check("http://192.168.0.7/api/bfs", Provider.AZURE, "eastus", is_local=True)
