"""docs/deploy.md: each command of it is one that there is. AWS's own are held against the SDK's model, `fiso`'s against
its options; what makes something is run in tests that the last case names."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name
from botocore.model import OperationModel
from typer._click.exceptions import ClickException
from typer.main import get_command

from fiso_cli.main import app
from fiso_cli.packaging.build import ROOT

PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OF_EVERY = ("--query", "--output")
"""Options that the AWS CLI has for each command."""
MODELS = botocore.session.get_session()
RUN = {
    "fiso setup": "tests/contract/test_setup_stage.py",
    "fiso adopt": "tests/lab/deployments.py",
    "fiso apply": "tests/contract/test_apply_command.py",
    "fiso deploy": "tests/functional/clouds/test_deploy_command.py",
    "fiso doctor": "tests/contract/test_doctor.py",
    "fiso package": "tests/unit/fiso_cli/packaging/test_build.py",
    "fiso invoke": "tests/e2e/test_routing.py",
    "fiso console": "tests/functional/test_console_door.py",
    "fiso cost": "tests/unit/fiso_cli/cost/test_cost.py",
    "fiso gateway-key": "tests/functional/test_lease_commands.py",
    "fiso lease-key": "tests/functional/test_lease_commands.py",
    "fiso login-key": "tests/e2e/test_login.py",
    "fiso keeper-database": "tests/contract/test_keeper_database.py",
    "serverless deploy": "tests/e2e/test_second_stage.py",
    "serverless remove": "tests/e2e/test_second_stage.py",
    "serverless rollback": "tests/lab/upgrade/versions.py",
}


def commands() -> Iterator[list[str]]:
    """Of the blocks, and of the text where a command stands with what it is to do."""
    lines = [line for block in _BLOCK.findall(PAGE) for line in block.splitlines()]
    spoken = re.findall(r"`((?:fiso|serverless) [a-z-]+(?: --[^`…]*)?)`", PAGE)
    for line in [*lines, *spoken]:
        words = shlex.split(line, comments=True)
        if words and words[0] not in ("npm", "export"):
            yield words


OURS = [words for words in commands() if words[0] == "fiso"]
AWS = [words for words in commands() if words[0] == "aws"]


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_a_command_of_fisos_is_there_and_takes_what_the_page_gives_it(words: list[str]) -> None:
    context = get_command(app).make_context("fiso", words[1:])
    _, found, rest = context.command.resolve_command(context, words[1:])  # type: ignore[attr-defined]
    if rest and "--stage" in rest:
        found.make_context(words[1], rest, parent=context)


@pytest.mark.parametrize("words", ["setup --stage prod --nothing", "set-up", "adopt --stage"])
def test_one_that_is_not_is_found(words: str) -> None:
    with pytest.raises(ClickException):
        test_a_command_of_fisos_is_there_and_takes_what_the_page_gives_it(["fiso", *words.split()])


@pytest.mark.parametrize("words", AWS, ids=" ".join)
def test_a_command_of_awss_has_an_operation_and_members_that_it_takes(words: list[str]) -> None:
    """As the AWS CLI derives its commands and options: both are the model's names, split at capitals."""
    service = MODELS.get_service_model(words[1])
    operations = {xform_name(name, "-"): name for name in service.operation_names}
    operation: OperationModel = service.operation_model(operations[words[2]])
    assert operation.input_shape is not None
    members = {xform_name(name, "-"): shape for name, shape in operation.input_shape.members.items()}
    options = [word.removeprefix("--") for word in words if word.startswith("--") and word not in OF_EVERY]
    given = {option.removeprefix("no-"): option for option in options}
    assert set(given) <= set(members), "an option that AWS does not have"
    for name, option in given.items():
        assert not option.startswith("no-") or members[name].type_name == "boolean"
    required = {xform_name(name, "-") for name in operation.input_shape.required_members}
    assert required <= set(given)


def test_each_kind_of_command_is_run_by_a_test_that_there_is() -> None:
    kinds = {" ".join(words[:2]) for words in commands() if words[0] in ("fiso", "serverless")}
    assert kinds - set(RUN) == set()
    for kind, path in RUN.items():
        program, _, verb = kind.partition(" ")
        text = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf'"{verb}"|{verb.replace("-", "_")}', text), f"{path} runs no {program} {verb}"


def test_each_link_and_file_that_the_page_names_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (Path(ROOT, "docs") / target).exists(), target
    for name in re.findall(r"file\(([^)]+)\)", PAGE):
        assert (ROOT / name).exists(), name


def test_each_parameter_that_the_page_names_is_one_of_the_stages() -> None:
    declared = (ROOT / "serverless.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:vpc|database|target|home)[A-Za-z]+)`", PAGE))
    assert len(named) >= 8
    assert [name for name in named if f"\n    {name}:" not in declared] == []
