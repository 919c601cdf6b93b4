"""`fiso trust` as one says it: AWS an emulator, Entra and Google local servers."""

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fiso.domain import identity
from fiso_cli.clouds.lock import Holder
from fiso_cli.clouds.trust import command
from fiso_cli.clouds.trust.lock import TableLock
from fiso_cli.errors import BadInput, CommandError
from tests.builders import NOW
from tests.emulator import aws
from tests.functional.clouds.trust_rig import PROJECT, TENANT, Trusts, trusts

TABLE, NAME = "fiso-endpoint-state-trusted", "fiso-trusted"
CATALOG = """
version: 1
functions:
  thumbnails:
    endpoints:
      - {provider: azure, authentication: entra, address: "https://thumbnails-eastus.azurewebsites.net/api"}
      - {provider: azure, authentication: function_key, address: "https://other.azurewebsites.net/api"}
      - {provider: gcp, address: "https://thumbnails-abc-uk.a.run.app"}
"""


@pytest.fixture
def here(tmp_path: Path, emulator_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trusts]:
    client = aws("dynamodb", emulator_url)
    keys = [("function_name", "HASH"), ("item", "RANGE")]
    client.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
    )
    with trusts(tmp_path) as made:
        environ = {
            "AWS_ENDPOINT_URL": emulator_url,
            "AWS_ENDPOINT_URL_IAM": made.iam_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "FISO_GRAPH_ENDPOINT": made.graph_url,
            "FISO_GOOGLE_ENDPOINT": made.google_url,
        }
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        made.world.projects[PROJECT] = "123456789012"
        yield made
    client.delete_table(TableName=TABLE)
    client.close()
    with warnings.catch_warnings():  # a command's clients end with its process
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def azure(file: Path, **more: Any) -> Any:
    return command.azure(stage="trusted", tenant=TENANT, file=file, as_json=True, **more)


def gcp(file: Path, **more: Any) -> Any:
    return command.gcp(stage="trusted", project=PROJECT, file=file, as_json=True, **more)


def test_both_are_shown_made_checked_and_taken_back(here: Trusts, tmp_path: Path) -> None:
    catalog = tmp_path / "fiso.yaml"
    catalog.write_text(CATALOG)
    assert (azure(catalog, check=True).exit_code, gcp(catalog, check=True).exit_code) == (1, 1)
    with pytest.raises(BadInput, match="--yes"):
        azure(catalog)
    assert here.directory.is_empty
    of_azure, of_google = azure(catalog, yes=True), gcp(catalog, yes=True)
    (caller,) = [each for each in here.directory.applications.values() if each["displayName"] == "fiso-trusted"]
    assert of_azure.document["identities"] == {"azure_tenant": TENANT, "azure_client": caller["appId"]}
    assert of_google.document["identities"] == {
        "google_provider": f"projects/123456789012/locations/global/workloadIdentityPools/{NAME}/providers/{NAME}",
        "google_service_account": f"fiso-trusted@{PROJECT}.iam.gserviceaccount.com",
    }
    said: Any = yaml.safe_load(catalog.read_text())
    assert said["identities"] == {**of_azure.document["identities"], **of_google.document["identities"]}
    assert identity.flaws_of(said["identities"]) == {}
    (called,) = [each for each in here.directory.applications.values() if each is not caller]
    assert called["identifierUris"] == [f"api://{TENANT}/thumbnails-eastus.azurewebsites.net"]
    (trusted,) = here.directory.credentials[caller["id"]].values()
    assert trusted["subject"].endswith(":role/fiso-trusted-orchestrator")
    assert (azure(catalog, check=True).exit_code, gcp(catalog, check=True).exit_code) == (0, 0)
    with_mirror = (azure(catalog, check=True, mirror=True).exit_code, gcp(catalog, check=True, mirror=True).exit_code)
    assert with_mirror == (1, 1), "the keeper is nobody there yet"
    azure(catalog, yes=True, mirror=True)
    gcp(catalog, yes=True, mirror=True)
    roles = {each["subject"].rpartition("/")[2] for each in here.directory.credentials[caller["id"]].values()}
    assert roles == {"fiso-trusted-orchestrator", "fiso-trusted-keeper"}
    assert (azure(catalog, check=True, mirror=True).exit_code, gcp(catalog, check=True, mirror=True).exit_code) == (
        0,
        0,
    )
    azure(catalog, remove=True, yes=True)
    gcp(catalog, remove=True, yes=True)
    assert here.directory.is_empty
    assert catalog.read_text() == CATALOG
    assert (azure(catalog, check=True).exit_code, gcp(catalog, check=True).exit_code) == (1, 1)


def test_while_another_is_at_it_nothing_is_changed_and_it_is_told_who(
    here: Trusts, emulator_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "fiso.yaml"
    client = aws("dynamodb", emulator_url)
    lock = TableLock(client, TABLE, "gcp")
    another = Holder(who="alice", host="another", process=7, began="1", until=NOW.replace(year=2999))
    version = lock.write(another, None)
    with pytest.raises(CommandError, match="alice on another"):
        gcp(file, yes=True)
    assert not here.world.things
    lock.delete(version)
    assert gcp(file, yes=True).exit_code == 0
    assert lock.read() is None
    client.close()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda: command.azure(stage="trusted", tenant="contoso"), "--tenant"),
        (lambda: command.azure(stage="trusted", tenant=TENANT, host=["https://x"]), "--host"),
        (lambda: command.azure(stage="trusted", tenant=TENANT, aws_regions="mars"), "--aws-regions"),
        (lambda: command.azure(stage="Trusted", tenant=TENANT), "stage"),
        (lambda: command.gcp(stage="trusted", project="../x"), "--project"),
        (lambda: command.gcp(stage="trusted", project=""), "--project"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_asked(here: Trusts, asked: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        asked()
    assert (here.directory.asked, here.world.requests) == ([], 0)
