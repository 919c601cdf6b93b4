"""A stage with a name of its own, and where its outputs say that it is."""

import json
from pathlib import Path
from typing import Any

import pytest

from fiso_cli.errors import CommandError
from fiso_cli.packaging.template import serverless_package

CERTIFICATE = "arn:aws:acm:us-east-1:111122223333:certificate/12345678-1234-1234-1234-123456789012"
NAMED = ("domainName=fiso.example.com", f"domainCertificateArn={CERTIFICATE}", "domainHostedZoneId=Z0123456789ABC")


def template(folder: Path, *params: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(serverless_package("prod", folder, params=[*params]).read_text())
    return found


def test_a_stage_has_a_name_of_its_own_below_a_path_of_it_and_clients_their_url(tmp_path: Path) -> None:
    made = template(tmp_path, "domain=path", "domainBasePath=fiso/v1", "frontDoor=url", *NAMED)
    resources = made["Resources"]
    mapping, record = resources["ApiMapping"]["Properties"], resources["ApiNameRecord"]["Properties"]
    assert (mapping["ApiMappingKey"], mapping["Stage"], mapping["ApiId"]) == ("fiso/v1", "$default", {"Ref": "HttpApi"})
    assert (record["Name"], record["Type"], record["HostedZoneId"]) == ("fiso.example.com", "A", "Z0123456789ABC")
    assert resources["ApiName"]["Properties"]["DomainNameConfigurations"][0]["CertificateArn"] == CERTIFICATE
    outputs = {name: each["Value"] for name, each in made["Outputs"].items()}
    assert outputs["GatewayUrl"] == "https://fiso.example.com/fiso/v1"
    assert outputs["ApiUrl"] == {"Fn::GetAtt": ["OrchestratorLambdaFunctionUrl", "FunctionUrl"]}
    assert resources["OrchestratorLambdaFunctionUrl"]["Type"] == "AWS::Lambda::Url"
    console = resources["ConsoleLambdaFunction"]["Properties"]["Environment"]["Variables"]
    assert console["FISO_CONSOLE_URL"] == "https://fiso.example.com/fiso/v1/console"


def test_the_whole_name_is_mapped_without_a_key(tmp_path: Path) -> None:
    made = template(tmp_path, "domain=root", *NAMED)
    assert "ApiMappingKey" not in made["Resources"]["ApiMapping"]["Properties"]
    outputs = {name: each["Value"] for name, each in made["Outputs"].items()}
    assert outputs["GatewayUrl"] == outputs["ApiUrl"] == "https://fiso.example.com"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ("domainName=https://fiso.example.com", "must be a host's name"),
        ("domainBasePath=/fiso", "must be as in fiso/v1"),
        (f"domainCertificateArn={CERTIFICATE.replace('us-east-1', 'eu-west-1')}", "a certificate of ACM in us-east-1"),
        ("domainHostedZoneId=example.com", "must be a zone of Route 53"),
        ("cors=https://app.example.com", "must be JSON, as in"),
        ("quotas=50", "must be requests a second and at once"),
    ],
)
def test_what_no_stage_can_have_is_refused_in_one_line_before_anything_is_built(
    changed: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(CommandError, match=told):
        template(tmp_path, "domain=path", "domainBasePath=fiso", *NAMED, changed)
