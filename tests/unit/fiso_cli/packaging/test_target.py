"""Targets: Lambda's own everywhere but on the local stage of another kind of host."""

import pytest

from fiso_cli.packaging.target import LAMBDA, Target, for_stage


@pytest.mark.parametrize("stage", ["dev", "prod", "staging"])
@pytest.mark.parametrize("host", ["3.11", "3.13"])
def test_deployed_stages_always_get_lambdas_target(stage: str, host: str) -> None:
    assert for_stage(stage, python=host) == LAMBDA


def test_a_host_like_lambda_runs_lambdas_wheels() -> None:
    assert for_stage("local", python="3.11", system=("linux", "x86_64")) == LAMBDA


@pytest.mark.parametrize(
    ("python", "system"),
    [("3.13", ("linux", "x86_64")), ("3.11", ("darwin", "arm64")), ("3.11", ("linux", "aarch64"))],
)
def test_the_local_stage_gets_wheels_that_load_on_this_host(python: str, system: tuple[str, str]) -> None:
    assert for_stage("local", python=python, system=system) == Target(python=python, platform=None)


def test_wheels_must_load_on_amazon_linux_2() -> None:
    # python3.11 on Lambda has glibc 2.26; manylinux2014 asks for 2.17, manylinux_2_27 and newer do not load there
    assert (LAMBDA.python, LAMBDA.platform) == ("3.11", "x86_64-manylinux2014")
