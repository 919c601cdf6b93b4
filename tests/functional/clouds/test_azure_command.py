"""What `fiso deploy azure` has that the others have not: what-if, and callers that Entra knows."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from typer.testing import CliRunner, Result

from fiso.domain.catalog import Snapshot
from fiso.domain.endpoint import Authentication, Provider
from fiso_cli.clouds.azure.command import LOCAL_PART
from fiso_cli.doctor.checks import CHECKS
from fiso_cli.doctor.finding import Finding
from fiso_cli.doctor.run import examine
from fiso_cli.doctor.site import Site as DoctorSite
from fiso_cli.main import app
from fiso_cli.stage import Stage
from tests.builders import NOW, an_endpoint, an_entry
from tests.functional.clouds.azure_world import APPLICATION, TENANT, Site, azure
from tests.functional.clouds.test_azure_monitoring import all_queries, ask

ROOT = Path(__file__).parents[3]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with azure(tmp_path / "azure", b"", runs=True) as found:
        port = int(found.arm.endpoint.rpartition(":")[2]) - LOCAL_PART
        monkeypatch.setenv("FISO_LOCAL_PORT", str(port))
        monkeypatch.setenv("FISO_LOCAL_DIR", str(tmp_path / "local"))
        monkeypatch.chdir(tmp_path)
        yield found


def fiso(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["deploy", "azure", "--stage", "local", *words])
    assert result.exit_code == code, result.output
    return result


def called(address: str, body: bytes, token: str = "") -> tuple[int, str]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        with urlopen(Request(address, data=body, headers=headers), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, ""


def token(audience: str, expires_in: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"aud": audience, "exp": time.time() + expires_in}).encode())
    return f"e30.{claims.decode().rstrip('=')}.c2ln"


def handler(folder: Path) -> Path:
    folder.mkdir()
    (folder / "handler.py").write_text("def handle(payload):\n    return {'hello': payload['name']}\n")
    (folder / "requirements.txt").write_bytes((ROOT / "functions/sample_azure/requirements.txt").read_bytes())
    return folder


def test_the_sample_asks_for_a_token_of_the_application(site: Site, tmp_path: Path) -> None:
    words = ["word-count=" + str(ROOT / "functions/sample_azure"), "--yes", "--json"]
    told = json.loads(fiso(*words, "--application-id", APPLICATION, "--tenant", TENANT).stdout)
    (endpoint,) = told["endpoints"]["word-count"]
    assert endpoint["address"].endswith("/api/word-count")
    address = endpoint["address"]
    assert endpoint["authentication"] == "entra"
    audience = f"api://{TENANT}/{address.split('/')[2]}"
    assert called(address, b"a b a", token(audience, 60))[0] == 200
    for other in ("", token(f"api://{TENANT}/another", 60), token(APPLICATION, 60), token(audience, -1), "no.token"):
        assert called(address, b"a b a", other)[0] == 401
    assert {each.verdict.value for each in examined(endpoint)} == {"ok"}
    site.world.faults.denied = {"Microsoft.Web/sites/write"}
    (told,) = [each for each in examined(endpoint) if each.verdict.value != "ok"]
    assert (told.check, told.what) == ("azure-rights", "you may not: Microsoft.Web/sites/write")


def examined(made: dict[str, Any]) -> list[Finding]:
    """What doctor finds of a copy on the local Azure, whose catalog names it."""
    given = {name: made[name] for name in ("id", "region", "memory_mb", "address")}
    copy = an_endpoint(Provider.AZURE, authentication=Authentication.ENTRA, **given)
    catalog = Snapshot(version=1, published_at=NOW, functions={(entry := an_entry(copy)).name: entry})
    looked = DoctorSite(stage=Stage.named("local"), only_clouds=frozenset({"azure"}), stack=cast(Any, object()))
    looked.__dict__ |= {"catalog": catalog, "functions": {}}
    names = {"identity", "clock", "rights", "providers", "regions", "quota", "apps", "reach"}
    return list(examine(looked, [each for each in CHECKS if each.name in {f"azure-{name}" for name in names}]))


def test_a_plan_makes_nothing_and_shows_what_azure_foretells(site: Site, tmp_path: Path) -> None:
    handler(tmp_path / "greet")
    before = json.loads(fiso("greet", "--plan", "--json").stdout)
    assert {each["does"] for each in before["plan"]} == {"make", "keep"}
    assert site.world.resources == {}
    fiso("greet", "--yes")
    storage = site.world.resources[next(key for key in site.world.resources if "/storageaccounts/fiso" in key)]
    assert storage["properties"]["allowSharedKeyAccess"] is False
    for each in site.world.resources.values():
        if str(each["type"]) == "Microsoft.Storage/storageAccounts" and "fisolock" not in each["name"]:
            each["properties"]["allowSharedKeyAccess"] = True
    after = json.loads(fiso("greet", "--plan", "--json").stdout)
    assert [each["properties"] for each in after["what_if"] if each["does"] == "Modify"] == [
        ["properties.allowSharedKeyAccess"]
    ]


def test_what_the_functions_host_tells_of_a_copy_answers_monitorings_queries(site: Site, tmp_path: Path) -> None:
    """Of the platform's own telemetry, by requests to a running app."""
    handler(tmp_path / "greet")
    told = json.loads(fiso("greet", "--yes", "--json").stdout)
    watched = CliRunner().invoke(app, ["deploy", "monitoring", "azure", "--stage", "local", "--yes"])
    assert watched.exit_code == 0, watched.output
    address = str(told["endpoints"]["greet"][0]["address"])
    assert [called(address, body)[0] for body in (b'{"name": 1}', b"[", *[b'{"name": 1}'] * 3)] == [
        200,
        400,
        200,
        200,
        200,
    ]
    deadline = time.monotonic() + 20
    while len(site.world.logs.get("AppRequests", [])) < 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    asked = {where: query for where, query in all_queries().items() if "AppRequests" in query}
    assert len(asked) == 4
    for where, query in asked.items():
        assert ask(site, query), where
    (failed,) = ask(site, asked["Failed Invocation Alert"], "PT15M")
    assert failed["failed_percent"] == 20.0
    assert str(failed["copy"]).startswith("fiso-local-greet")
