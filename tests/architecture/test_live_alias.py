"""What starts environments ahead of requests, and how versions change: a stage's parameters in its template."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fiso_cli.local_stage import CHECKOUT
from fiso_cli.packaging.template import serverless_package

LIVE = "OrchestratorLiveAlias"
CANARY = {"CanaryRole", "CanaryApplication", "CanaryGroup"}


def template(folder: Path, *params: str) -> dict[str, Any]:
    found = json.loads(serverless_package("prod", folder, params=params).read_text())["Resources"]
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return template(tmp_path_factory.mktemp("plain"), "canary=AllAtOnce")


def test_without_a_canary_the_alias_moves_at_once(plain: dict[str, Any]) -> None:
    assert "UpdatePolicy" not in plain[LIVE]
    assert CANARY.isdisjoint(plain)
    assert "ProvisionedConcurrencyConfig" not in plain[LIVE]["Properties"]
    assert "SnapStart" not in plain["OrchestratorLambdaFunction"]["Properties"]


def test_snapshots_are_taken_of_published_versions_behind_the_same_alias(plain: dict[str, Any], tmp_path: Path) -> None:
    found = template(tmp_path, "snapStart=true")
    assert found["OrchestratorLambdaFunction"]["Properties"]["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert found[LIVE]["Properties"]["Name"] == "live"
    assert versions(found).isdisjoint(versions(plain))  # whoever changes its mind gets another version
    assert set(found) - versions(found) - CANARY == set(plain) - versions(plain)
    assert found[LIVE]["UpdatePolicy"]


def versions(resources: dict[str, Any]) -> set[str]:
    return {name for name in resources if name.startswith("OrchestratorLambdaVersion")}


def test_environments_wait_behind_the_same_alias_and_their_number_follows_their_use(tmp_path: Path) -> None:
    found = template(tmp_path, "provisionedConcurrency=1-5", "canary=AllAtOnce")
    assert found[LIVE]["Properties"]["ProvisionedConcurrencyConfig"] == {"ProvisionedConcurrentExecutions": 1}
    target = found["ProvisionedTarget"]["Properties"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 5)
    assert target["ResourceId"] == {"Fn::Sub": "function:${OrchestratorLambdaFunction}:live"}


BEGIN = """
const LiveAlias = require('./scripts/serverless/live-alias.cjs');
const told = JSON.parse(process.argv[1]).map((live) => {
  const service = { custom: { live }, functions: { orchestrator: {} }, resources: [] };
  const naming = { getNormalizedFunctionName: (name) => name };
  const serverless = { service, classes: { Error }, getProvider: () => ({ naming }) };
  try {
    new LiveAlias(serverless, {}, {}).begin();
  } catch ({ message }) {
    return message;
  }
  return service.functions.orchestrator;
});
console.log(JSON.stringify(told));
"""
USUAL = {"snapStart": False, "provisionedConcurrency": 0, "canary": "AllAtOnce"}
ALIAS = {"targetAlias": {"name": "live", "logicalId": "orchestratorLiveAlias"}}
BEGUN: list[tuple[dict[str, Any], str | dict[str, Any]]] = [
    ({}, {"snapStart": False, "provisionedConcurrency": 0}),
    ({"snapStart": "true"}, {"snapStart": True, "provisionedConcurrency": 0}),  # as --param has it
    ({"provisionedConcurrency": "1-5"}, {"snapStart": False, "provisionedConcurrency": 1}),
    ({"snapStart": "yes"}, "snapStart: must be true or false, not 'yes'"),
    ({"snapStart": ""}, "snapStart: must be true or false, not ''"),
    ({"provisionedConcurrency": "many"}, "provisionedConcurrency: must be a number, or two as in 1-5; not 'many'"),
    ({"provisionedConcurrency": "5-1"}, "must be a number, or two as in 1-5"),
    ({"provisionedConcurrency": "0-5"}, "must be a number, or two as in 1-5"),
    ({"provisionedConcurrency": "-1"}, "must be a number, or two as in 1-5"),
    ({"provisionedConcurrency": "1\n"}, "must be a number, or two as in 1-5"),
    ({"provisionedConcurrency": 1.5}, "must be a number, or two as in 1-5"),
    ({"snapStart": True, "provisionedConcurrency": 1}, "Lambda has one or the other"),
    (
        {"provisionedConcurrency": 1, "canary": "Linear10PercentEvery1Minute"},
        "an alias that moves bit by bit has none; set canary: AllAtOnce",
    ),
    ({"canary": "Linear"}, "canary: must be one of AllAtOnce, Canary10Percent5Minutes"),
    ({"canary": ""}, "canary: must be one of AllAtOnce"),
]


def test_a_parameter_of_the_wrong_form_is_refused_before_anything() -> None:
    given = json.dumps([{**USUAL, **live} for live, _ in BEGUN])
    done = subprocess.run(["node", "-e", BEGIN, given], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    for (live, wanted), told in zip(BEGUN, json.loads(done.stdout), strict=True):
        if isinstance(wanted, str):
            assert wanted in told, live
        else:
            assert told == wanted | ALIAS, live


PRUNE = """
const { pruned } = require('./scripts/serverless/live-alias.cjs');
const [aliases, numbers] = JSON.parse(process.argv[1]);
const deleted = [];
const command = (kind) => class { constructor(input) { Object.assign(this, { kind, input }); } };
const sdk = {
  ListAliasesCommand: command('list'),
  DeleteFunctionCommand: command('delete'),
  async *paginateListVersionsByFunction() {
    for (const Version of ['$LATEST', ...numbers]) yield { Versions: [{ Version: `${Version}` }] };
  },
};
const send = async ({ kind, input }) => (kind === 'list' ? { Aliases: aliases } : deleted.push(input.Qualifier));
pruned({ send }, sdk, 'f').then(() => console.log(JSON.stringify(deleted)));
"""


@pytest.mark.parametrize(
    ("alias", "numbers", "deleted"),
    [
        ({"FunctionVersion": "9"}, range(1, 10), ["4", "3", "2", "1"]),
        ({"FunctionVersion": "2"}, range(1, 10), ["4", "3", "1"]),  # moved back by hand
        (
            {"FunctionVersion": "9", "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.1}}},
            range(1, 10),
            ["4", "3", "2"],
        ),
        ({"FunctionVersion": "10"}, [8, 9, 10, 11, 12], []),
        ({"FunctionVersion": "11"}, [9, 10, 11, 12, 13, 14], ["9"]),  # by number, not as text
    ],
)
def test_five_versions_stay_and_those_that_aliases_name(
    alias: dict[str, Any], numbers: list[int], deleted: list[str]
) -> None:
    given = json.dumps([[alias], list(numbers)])
    done = subprocess.run(["node", "-e", PRUNE, given], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == deleted
