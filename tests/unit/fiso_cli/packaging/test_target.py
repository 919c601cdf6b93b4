"""Targets: Lambda's own everywhere but on the local stage of another kind of host; who makes their bytecode."""

from pathlib import Path

import pytest

from fiso_cli.errors import CommandError
from fiso_cli.packaging.target import Target, _is, architecture_of, for_stage, host_python, interpreter, lambda_target

ARM, X86 = lambda_target("arm64"), lambda_target("x86_64")


@pytest.mark.parametrize("stage", ["dev", "prod", "staging"])
@pytest.mark.parametrize("host", ["3.11", "3.13"])
def test_deployed_stages_always_get_lambdas_target(stage: str, host: str) -> None:
    assert for_stage(stage, python=host) == ARM
    assert for_stage(stage, "x86_64", python=host) == X86


def test_a_host_like_lambda_runs_lambdas_wheels() -> None:
    assert for_stage("local", "arm64", python="3.13", system=("linux", "x86_64")) == X86


@pytest.mark.parametrize(
    ("python", "system"),
    [("3.11", ("linux", "x86_64")), ("3.13", ("darwin", "arm64")), ("3.14", ("linux", "aarch64"))],
)
def test_the_local_stage_gets_wheels_that_load_on_this_host(python: str, system: tuple[str, str]) -> None:
    assert for_stage("local", python=python, system=system) == Target(python=python, platform=None)


def test_wheels_must_load_on_amazon_linux_2023() -> None:
    # python3.13 on Lambda has glibc 2.34: manylinux_2_28 loads there, manylinux_2_35 and newer do not
    assert (ARM.python, ARM.platform) == ("3.13", "aarch64-manylinux_2_28")
    assert (X86.python, X86.platform) == ("3.13", "x86_64-manylinux_2_28")


def test_another_architecture_is_refused_by_name() -> None:
    with pytest.raises(CommandError, match="there is no architecture 'amd64': say arm64 or x86_64"):
        lambda_target("amd64")


@pytest.mark.parametrize(
    ("text", "architecture"),
    [
        ("params: {default: {architecture: x86_64}}", "x86_64"),
        ("params: {default: {architecture: x86_64}, prod: {architecture: arm64}}", "arm64"),
        ("params: {default: {architecture: x86_64}, prod: }", "x86_64"),
        ("params: {default: {architecture: '${env:ARCHITECTURE}'}}", "arm64"),
        ("params: {}", "arm64"),
        ("{", "arm64"),
        ("[]", "arm64"),
    ],
)
def test_a_stages_architecture_is_what_serverless_yml_says(tmp_path: Path, text: str, architecture: str) -> None:
    (tmp_path / "serverless.yml").write_text(text)
    assert architecture_of("prod", tmp_path) == architecture


def test_this_interpreter_makes_bytecode_of_its_own_version_alone() -> None:
    assert interpreter(host_python()) is not None
    assert interpreter("2.9") is None


@pytest.mark.parametrize(
    ("says", "taken"), [("3.13 final", True), ("3.13 candidate", False), ("3.12 final", False), ("", False)]
)
def test_an_interpreter_of_before_the_release_is_none(tmp_path: Path, says: str, taken: bool) -> None:
    found = tmp_path / "python3.13"
    found.write_text(f"#!/bin/sh\necho {says}\n")
    found.chmod(0o755)
    assert _is(str(found), "3.13") is taken
