import pytest

from fiso.domain.address import AddressRules, check, check_endpoint, hosts_in
from fiso.domain.endpoint import Provider
from fiso.domain.errors import BadAddress
from tests.builders import an_endpoint

ARN = "arn:aws:lambda:us-east-1:000000000000:function:bfs"
DEPLOYED = AddressRules()
LOCAL = AddressRules(allow_loopback=True)


@pytest.mark.parametrize("address", [ARN, f"{ARN}:live", f"{ARN}:$LATEST", "bfs", "bfs:live"])
def test_a_lambda_function_is_named_by_arn_or_name(address: str) -> None:
    check(address, Provider.AWS, "us-east-1", DEPLOYED)


@pytest.mark.parametrize(
    ("provider", "address", "problem"),
    [
        (Provider.AWS, "https://x.lambda-url.us-east-1.on.aws/", "ARN or name"),
        (Provider.AWS, ARN.replace("us-east-1", "eu-west-1"), "names region eu-west-1, .* is us-east-1"),
        (Provider.AWS, ARN + "\n", "plain ASCII"),
        (Provider.GCP, "http://g.run.app/bfs", "must be https"),
        (Provider.GCP, "http://127.0.0.1:1/bfs", "must be https"),
        (Provider.GCP, "ftp://g.run.app", "https URL"),
        (Provider.GCP, "https://g.run.app:99999/", "port 443"),
        (Provider.GCP, "https://a.azurewebsites.net/", r"at a host of gcp .*\.run\.app.* FISO_ENDPOINT_HOSTS"),
        (Provider.AZURE, "https://a.azurewebsites.net/api/bfs?code=secret", "secret_ref"),
        (Provider.AZURE, "https://user:secret@a.azurewebsites.net/", "secret_ref"),
        (Provider.AZURE, "https://a.azurewebsites.net/a b", "without spaces"),
        (Provider.AZURE, "https://a.azurewebsites.net/../b", "plain segments"),
        (Provider.AZURE, "https://a.azurewebsites.net/" + "a" * 2000, "at most 2000"),
        (Provider.AZURE, "https://localhost/x", "private network"),
    ],
)
def test_a_refusal_says_what_must_be_so(provider: Provider, address: str, problem: str) -> None:
    with pytest.raises(BadAddress, match=problem):
        check(address, provider, "us-east-1", DEPLOYED)


@pytest.mark.parametrize("host", ["127.0.0.1:4577", "localhost:4577", "[::1]:4577"])
def test_the_local_stage_may_call_this_machine_in_plain_text(host: str) -> None:
    check(f"http://{host}/api/bfs", Provider.AZURE, "eastus", LOCAL)


@pytest.mark.parametrize("host", ["192.168.0.7", "a.azurewebsites.net"])
def test_the_local_stage_calls_no_other_machine_in_plain_text(host: str) -> None:
    with pytest.raises(BadAddress, match="this machine only"):
        check(f"http://{host}/api/bfs", Provider.AZURE, "eastus", LOCAL)


@pytest.mark.parametrize("path", ["@127.0.0.1/", ".evil.test/", ":80/", "/a\\b", "/../x", "?x=", "/a\r\nb"])
def test_a_path_cannot_turn_an_address_into_another(path: str) -> None:
    endpoint = an_endpoint(Provider.AZURE, address="https://a.azurewebsites.net", path=path)
    with pytest.raises(BadAddress, match="path"):
        check_endpoint(endpoint, DEPLOYED)


def test_own_hosts_are_exact_names() -> None:
    rules = AddressRules(own_hosts=hosts_in("API.example.com, b.example.com"))
    check("https://api.example.com/x", Provider.GCP, "us-east4", rules)
    for host in ("x.api.example.com", "example.com"):
        with pytest.raises(BadAddress):
            check(f"https://{host}/x", Provider.GCP, "us-east4", rules)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "*.example.com", "example", "db.internal", "a.example.com:1"]
)
def test_an_own_host_is_a_public_name(host: str) -> None:
    with pytest.raises(ValueError, match="no public host's name"):
        AddressRules(own_hosts=frozenset({host}))
