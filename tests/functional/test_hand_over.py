"""More rows than one function learns from: the run says how a training platform learns from them all."""

from dataclasses import replace
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from fiso.domain.archive import Extent
from fiso.domain.model import Verdict
from fiso.retrainer_settings import RetrainerSettings
from fiso.services.maintenance import hand_over
from fiso.settings import BadSetting
from fiso_cli.main import app
from tests.functional.test_retrain import AFTER, a_log, a_retrainer

OWN = "vertex --image eu.gcr.io/p/fiso@sha256:0a --project p --bucket b --spot"


def test_above_the_limit_a_run_says_the_command_and_learns_from_a_share_all_the_same() -> None:
    retrainer = replace(a_retrainer(*a_log(260)), most_rows=200, stage="prod", train_on=OWN)
    run = retrainer.retrain(now=AFTER, trigger="schedule")
    assert run.promoted, run.reason
    (step,) = (each for each in run.steps if each.name == hand_over.NAME)
    assert (step.verdict, step.figures) == (Verdict.SKIPPED, {"standing": 260.0, "most_rows": 200.0})
    assert f"fiso train --on {OWN} --family hist_gradient_boosting --stage prod" in step.reason
    assert [each.name for each in run.steps][:2] == ["data_quality_check", hand_over.NAME]
    assert run.reason == next(each.reason for each in run.steps if each.name == "champion_challenger_comparison")


def test_within_the_limit_or_where_rows_are_bad_nothing_is_handed_over() -> None:
    retrainer = a_retrainer(*a_log(260))
    for each in (replace(retrainer, most_rows=260), replace(retrainer, most_rows=10, minimum_rows=10_000)):
        run = each.retrain(now=AFTER, trigger="schedule")
        assert hand_over.NAME not in [each.name for each in run.steps]


@pytest.mark.parametrize("train_on", ["", "sagemaker", OWN, "azureml --subscription 1-2 --workspace fiso-ml-workspace"])
def test_what_is_said_is_a_command_of_ours(train_on: str) -> None:
    told = hand_over.step(
        Extent(records=200_000, standing=5e6),
        most_rows=200_000,
        stage="local",
        family="linear",
        train_on=hand_over.parsed(train_on),
    )
    assert told is not None
    assert "a platform reads 1,000,000" in told.reason
    command = told.reason.partition("; more: fiso ")[2]
    result = CliRunner().invoke(app, [*command.split(), "--most-usd", "1"])
    assert result.exit_code != 0
    assert "No such option" not in result.output
    assert "needed" in result.output or "needs" in result.output, result.output


@pytest.mark.parametrize(
    "text",
    ["ray", "sagemaker; rm -rf x", "vertex --project $(id)", "vertex -p x", "vertex\n", "x" * 501, "sagemaker  --x"],
)
def test_no_other_text_is_shown_as_a_command(text: str) -> None:
    with pytest.raises(ValueError, match="must be one of sagemaker, azureml, vertex"):
        hand_over.parsed(text)
    environ = {"FISO_STAGE": "prod", "FISO_BUCKET": "b"}
    if text.strip() == text:
        with pytest.raises(BadSetting, match="FISO_TRAIN_ON"):
            RetrainerSettings.from_environ(environ | {"FISO_TRAIN_ON": text})
    assert RetrainerSettings.from_environ(environ | {"FISO_TRAIN_ON": OWN}).train_on == OWN


def test_runs_of_a_stage_that_names_no_platform_say_what_is_missing() -> None:
    retrainer = replace(a_retrainer(*a_log(260)), most_rows=200)
    run = retrainer.retrain(now=AFTER + timedelta(minutes=1), trigger="schedule")
    assert any(hand_over.ANY in each.reason for each in run.steps)
