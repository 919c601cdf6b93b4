"""What `serverless deploy` is told wrongly is one line, before its files are put together."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from fiso_cli.errors import CommandError
from fiso_cli.packaging.template import serverless_package
from fiso_cli.training.commands import FAMILIES

ROOT = Path(__file__).parents[2]
PROGRAM = (
    "const {wrong} = require('./scripts/serverless/checked-input.cjs');"
    "const [stage, params, cases] = JSON.parse(process.argv[1]);"
    "console.log(JSON.stringify(cases.map((each) => wrong(stage, params, each) || '')))"
)
REFUSED = {
    "auth=magic": "auth: must be one of iam, jwt, none; not 'magic'",
    "iamTenant=planet": "iamTenant: must be one of account, role; not 'planet'",
    "frontDoor=gate": "frontDoor: must be one of api, url; not 'gate'",
    "logRetentionDays=31": "logRetentionDays: must be one of 1, 3,",
    "reservedConcurrency=-1": "reservedConcurrency: must be a whole number from 1 to 100000; not '-1'",
    "consumerMemory=64": "consumerMemory: must be a whole number from 128 to 10240; not '64'",
    "dailyCostAlarmUsd=ten": "dailyCostAlarmUsd: must be a number; not 'ten'",
    "retrainerRate=daily": "retrainerRate: must be as in rate(1 day)",
    "homeRegion=mars": "homeRegion: must be a region, as in eu-west-1; not 'mars'",
    "modelFamilies=forest": "modelFamilies: must be of hist_gradient_boosting",
    "trainOn=ray": "trainOn: must be sagemaker, azureml or vertex with its options; not 'ray'",
    "trainOn=vertex; rm x": "trainOn: must be sagemaker, azureml or vertex",
    "tracedShare=2": "tracedShare: must be a share from 0 to 1; not '2'",
    "otlpUrl=collector:4318": "otlpUrl: must be a URL",
    "quotas=5": "quotas: must be requests a second and at once, as in 50/100; not '5'",
    "cors={": "cors: must be JSON",
    'cors={"allow_origins": 1}': "cors: must be JSON",
    "cors=[]": "cors: must be JSON",
    "iamTenants=role": "parameter 'iamTenants': there is none of this name",
    "auth": "parameter 'auth': must have a value, as in auth=VALUE",
    "=1": "parameter '=1': there is none of this name",
}
TAKEN = [
    "auth=jwt",
    "quotas=",
    "quotas=5/10 team-a=50/1e3",
    "cors=",
    "tracedShare=0.01",
    "retrainOnDrift=0",
    "trainOn=",
    "trainOn=sagemaker --image 1.dkr.ecr.eu-west-1.amazonaws.com/fiso:1 --role arn:aws:iam::1:role/x --spot",
    "reservedConcurrency=100",
    "snapStart=true",
]
PARAMS = yaml.safe_load((ROOT / "serverless.yml").read_text())["params"]


def told(stage: str, *cases: list[str]) -> list[str]:
    command = ["node", "-e", PROGRAM, json.dumps([stage, PARAMS, cases])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found: list[str] = json.loads(done.stdout)
    return found


def test_a_parameter_of_a_wrong_form_or_name_is_told_in_one_line() -> None:
    answers = told("prod", *([each] for each in REFUSED))
    assert [
        (case, answer) for (case, says), answer in zip(REFUSED.items(), answers, strict=True) if says not in answer
    ] == []
    assert not any("\n" in answer for answer in answers)


@pytest.mark.parametrize("stage", ["dev", "prod", "local"])
def test_what_stands_in_the_file_and_what_the_documents_say_is_taken(stage: str) -> None:
    assert told(stage, [], *([each] for each in TAKEN)) == [""] * (len(TAKEN) + 1)


def test_it_knows_the_families_that_are_trained() -> None:
    assert told("prod", *([f"modelFamilies={name}"] for name in FAMILIES)) == [""] * len(FAMILIES)


def test_the_serverless_command_says_so_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"auth: must be one of iam, jwt, none; not 'magic'") as refused:
        serverless_package("prod", tmp_path, params=["auth=magic"])
    assert "Cannot resolve variable" not in str(refused.value)
    assert not list(tmp_path.iterdir())
