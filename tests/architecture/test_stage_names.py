"""What a stage is called, and where: told before anything is built, and no two stacks of an account share a name."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fiso_cli.errors import CommandError
from fiso_cli.main import app
from fiso_cli.packaging.template import serverless_package
from fiso_cli.stage import Stage
from fiso_client.core import grammar

LONGEST = "a" * 20
REGION = "ap-southeast-2"
"""No region of AWS has a longer name."""
PER_ACCOUNT = {"IAM::Role": "RoleName", "S3::Bucket": "BucketName", "CloudWatch::Dashboard": "DashboardName"}
MOST = {"IAM::Role": 64, "S3::Bucket": 63, "CloudWatch::Dashboard": 255}
CHECKED = Path(__file__).parents[2] / "scripts/serverless/checked-input.cjs"
PLUGIN = Path(__file__).parents[2] / "scripts/serverless/build-packages.cjs"


def names(template: Path) -> Iterator[tuple[str, str]]:
    """Of resources whose names are one for a whole account; the deployment's own bucket has none."""
    resources: dict[str, dict[str, Any]] = json.loads(template.read_text())["Resources"]
    for each in resources.values():
        kind = each["Type"].removeprefix("AWS::")
        name = each["Properties"].get(PER_ACCOUNT.get(kind, ""))
        if name:
            text = name["Fn::Sub"] if isinstance(name, dict) else name
            yield kind, text.replace("${AWS::AccountId}", "0" * 12)


def test_a_stage_elsewhere_shares_no_name_with_the_one_at_home_and_none_is_too_long(tmp_path: Path) -> None:
    home = list(names(serverless_package(LONGEST, tmp_path / "home")))
    away = list(names(serverless_package(LONGEST, tmp_path / "away", region=REGION)))
    moved = serverless_package(LONGEST, tmp_path / "moved", region=REGION, params=[f"homeRegion={REGION}"])
    assert len(home) == len(away) == 11
    assert [(kind, f"{name}-{REGION}") for kind, name in home] == away
    assert list(names(moved)) == home, "who says that a stage is at home there keeps its names"
    assert [name for kind, name in away if len(name) > MOST[kind]] == []


@pytest.mark.parametrize("stage", ["Prod", "1st", "prod_eu", f"{LONGEST}a"])
def test_no_stage_is_packaged_under_a_name_that_the_command_line_refuses(stage: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError):
        Stage.named(stage)
    done = CliRunner().invoke(app, ["package", "--stage", stage])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    if stage == "Prod":  # two seconds each
        with pytest.raises(CommandError, match="stage 'Prod': must be lower-case letters, digits and -, at most 20"):
            serverless_package(stage, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_serverless_command_and_the_command_line_know_one_grammar() -> None:
    (pattern,) = re.findall(r"STAGE = /\^(.+)\$/", CHECKED.read_text(encoding="utf-8"))
    assert pattern == grammar._STAGE.pattern


STANDS = {"StackStatus": "UPDATE_COMPLETE", "Outputs": [{"OutputKey": "ApiUrl"}]}
RESOLVED = {"Parameters": [{"ParameterKey": "Floor", "ParameterValue": "/fiso/prod/floor", "ResolvedValue": "7"}]}
SKIPPED = {
    "all as it was": ({**STANDS, **RESOLVED}, {"Floor": "7"}, True),
    "no settings, as on the local stage": (STANDS, {}, True),
    "a setting was changed": ({**STANDS, **RESOLVED}, {"Floor": "8"}, False),
    "a setting is new": (STANDS, {"Floor": "7"}, False),
    "the last deployment was rolled back": ({**STANDS, "StackStatus": "UPDATE_ROLLBACK_COMPLETE"}, {}, False),
    "the stack has the deployment's bucket alone": ({"StackStatus": "CREATE_COMPLETE", "Outputs": []}, {}, False),
    "the stack was adopted": ({**STANDS, "StackStatus": "IMPORT_COMPLETE"}, {}, False),
    "there is no stack": ({}, {}, False),
}


@pytest.mark.parametrize(("deployed", "settings", "is_skipped"), SKIPPED.values(), ids=SKIPPED.keys())
def test_a_deployment_is_skipped_only_where_everything_stands_as_it_would(
    deployed: dict[str, Any], settings: dict[str, str], *, is_skipped: bool
) -> None:
    """The serverless command found files as it uploaded them last, and would go home."""
    program = (
        "const Plugin = require(process.argv[1]); const [deployed, settings] = JSON.parse(process.argv[2]);"
        "const provider = {shouldNotDeploy: true}; const it = Object.create(Plugin.prototype);"
        "Object.assign(it, {deployed, settings, serverless: {service: {provider}}}); it.deployWhatIsNot();"
        "console.log(provider.shouldNotDeploy)"
    )
    command = ["node", "-e", program, str(PLUGIN), json.dumps([deployed, settings])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(is_skipped).lower()
