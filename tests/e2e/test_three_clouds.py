"""docs/three-clouds.md, command by command: from an empty folder to copies that answer on several clouds, and back."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from fiso_cli.local_stage import AZURE_TENANT
from fiso_cli.traffic.gateway import Gateway
from localcloud.demo.machine import Machine
from tests.e2e.conftest import CHECKOUT, eventually, free_ports

pytestmark = pytest.mark.timeout(900)
PAGE = (CHECKOUT / "docs" / "three-clouds.md").read_text(encoding="utf-8")
UP, FOLDER, THERE, BACK, DOWN = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Empty:
    """A stage without a function, and an empty folder."""

    machine: Machine
    folder: Path
    environ: dict[str, str]

    def typed(self, command: str, *, code: int = 0) -> str:
        done = subprocess.run(
            command, shell=True, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def documented(self, block: str) -> list[str]:
        return [self.typed(line) for line in block.splitlines()]

    def call(self, name: str, exclude: str) -> httpx.Response:
        url = f"{Gateway(url=self.machine.stage.api_url).url}/v1/invoke/hello"
        return httpx.post(url, json={"name": name}, headers={"x-fiso-exclude": exclude}, timeout=35, trust_env=False)

    def google(self, path: str, body: object = None) -> Any:
        return self._asked(f"{self.machine.cloud.google_url}/{path}", body)

    def entra(self, path: str) -> Any:
        return self._asked(f"{self.machine.cloud.entra_url}/v1.0/{path}")

    def azure(self, path: str) -> Any:
        return self._asked(f"{self.machine.cloud.url('azure-cloud')}{path}")

    def _asked(self, url: str, body: object = None) -> Any:
        headers = {"authorization": "Bearer local"}
        method = "GET" if body is None else "POST"
        return httpx.request(method, url, json=body, headers=headers, timeout=30, trust_env=False).json()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Empty]:
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith(("AWS_", "FISO_", "AZURE_", "GOOGLE_"))]:
            environment.delenv(name)
        environment.setenv("FISO_LOCAL_DIR", str(tmp_path_factory.mktemp("local-cloud")))
        environment.setenv("FISO_LOCAL_PORT", str(free_ports()))
        environment.setenv("PYTHONPATH", os.pathsep.join(str(CHECKOUT / folder) for folder in ("shared", "scripts")))
        environment.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        environment.setenv("NO_COLOR", "1")
        environment.delenv("UV_OFFLINE", raising=False)  # of the other cloud: a package here locks what it needs
        found = Empty(machine=Machine.from_environ(), folder=tmp_path_factory.mktemp("empty"), environ=dict(os.environ))
        try:
            found.documented(UP)
            yield found
        finally:
            found.documented(DOWN)


def test_three_commands_put_a_function_on_the_clouds_and_take_all_of_it_back(empty: Empty) -> None:
    empty.documented(FOLDER)
    deployed, examined, invoked = empty.documented(THERE)
    assert "next: fiso doctor --stage local" in deployed
    assert re.fullmatch(r"\d+ ok", examined.splitlines()[-1]), examined
    assert json.loads(invoked.strip().splitlines()[0]) == {"hello": "Ada"} or '"Ada"' in invoked

    for own in ("aws", "azure", "gcp"):
        answer = answered(empty, ",".join({"aws", "azure", "gcp"} - {own}))
        assert answer.json() == {"hello": "Ada"}
        assert answer.headers["x-fiso-provider"] == own
    assert empty.typed("fiso trust azure --stage local --check && fiso trust gcp --stage local --check")
    again = json.loads(empty.typed("fiso deploy everywhere hello --stage local --yes --json"))["done"]
    watched = ("deploy monitoring azure", "deploy monitoring gcp")
    for name in ("deploy aws-function", "trust azure", "deploy azure", "trust gcp", "deploy gcp", *watched):
        assert (again[name]["done"]["made"], again[name]["done"]["changed"]) == ([], []), name

    is_watched(empty)
    without_trust(empty)
    taken = empty.documented(BACK)[-1]
    assert "removed" in taken
    assert (empty.folder / "fiso.yaml").read_text() == "version: 1\n\nfunctions:\n"
    assert empty.call("Ada", "azure").status_code == 404
    nothing_is_left(empty)
    beside_others(empty)


def beside_others(empty: Empty) -> None:
    """A stage that serves functions already, as after `make run`: they stay, with a file and without one."""
    empty.machine.apply()
    others = served(empty)
    assert len(others) == 4
    refused = empty.typed("fiso deploy everywhere hello --stage local --on aws --yes 2>&1", code=2)
    assert "which the stage serves: `fiso export` prints them" in refused
    empty.typed("mv fiso.yaml empty.yaml")
    empty.typed("fiso deploy everywhere hello --stage local --on aws --no-watch --yes")
    assert served(empty) == others | {"hello"}
    empty.typed("mv fiso.yaml whole.yaml && fiso deploy everywhere --stage local --on aws --destroy --yes")
    assert served(empty) == others


def served(empty: Empty) -> set[str]:
    return set(json.loads(empty.typed("fiso export --stage local --json"))["functions"])


def answered(empty: Empty, exclude: str) -> httpx.Response:
    """Once the new catalog is served everywhere."""
    return eventually(lambda: found if (found := empty.call("Ada", exclude)).status_code == 200 else None)


DASHBOARDS = "monitoring.googleapis.com/v1/projects/fiso-local/dashboards"
SINKS = "logging.googleapis.com/v2/projects/fiso-local/sinks"


def is_watched(empty: Empty) -> None:
    named = {each["displayName"] for each in empty.google(DASHBOARDS)["dashboards"]}
    assert named == {"FISO System Health (local)", "Prediction Model Metrics (local)"}
    assert {each["name"] for each in empty.google(SINKS)["sinks"]} == {
        "fiso-invocation-sink-local",
        "fiso-error-sink-local",
    }


def without_trust(empty: Empty) -> None:
    """A federation that is wrong fails as the vendors' would, and is found, and mended by the same command."""
    application = empty.entra("applications(uniqueName='fiso-local')")
    assert application["tags"] == ["fiso-stage:local", "fiso-deployment:trust"]
    assert empty.entra(f"applications/{application['id']}/federatedIdentityCredentials/aws-us-east-1")[
        "subject"
    ].endswith(":role/fiso-local-orchestrator")
    assert AZURE_TENANT in (empty.folder / "fiso.yaml").read_text()


def nothing_is_left(empty: Empty) -> None:
    for kind in ("fiso-local", "fiso-local-functions"):
        assert empty.entra(f"applications(uniqueName='{kind}')")["error"]["code"] == "Request_ResourceNotFound"
    assert empty.entra("directory/deletedItems/microsoft.graph.application")["value"] == []
    group = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/fiso-local?api-version=2024-11-01"
    assert empty.azure(group)["error"]["code"] == "ResourceGroupNotFound"
    assert (
        empty.google("run.googleapis.com/v2/projects/fiso-local/locations/us-east4/services").get("services", []) == []
    )
    assert (empty.google(DASHBOARDS).get("dashboards", []), empty.google(SINKS).get("sinks", [])) == ([], [])
    accounts = empty.google("iam.googleapis.com/v1/projects/fiso-local/serviceAccounts").get("accounts", [])
    assert accounts == []
    pool = "iam.googleapis.com/v1/projects/fiso-local/locations/global/workloadIdentityPools/fiso-local"
    assert empty.google(pool)["state"] == "DELETED"  # for thirty days, as Google keeps it
