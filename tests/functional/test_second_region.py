"""A second region: what is copied there, the models that a standby takes over, and whether a region is ready."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from cfnlint.api import ManualArgs, lint
from typer.testing import CliRunner

from fiso.adapters.aws.s3 import S3Snapshots
from fiso.domain.errors import InvalidCatalog, StoreUnavailable
from fiso.domain.model import ModelPointer
from fiso.retrainer_settings import RetrainerSettings
from fiso.services.log.copying import REST_S, CopiedArchive
from fiso.services.maintenance.follow import Follower
from fiso.settings import BadSetting, BucketElsewhere, OrchestratorSettings, StreamConsumerSettings
from fiso.testing.clock import ManualClock
from fiso.testing.memory import (
    InMemoryArchive,
    InMemoryMetrics,
    InMemoryModelStore,
    InMemoryPromotionWitness,
    InMemoryRetrainingRuns,
    answering,
    away,
)
from fiso.testing.rig import Rig, http_event, word_count
from fiso_cli.catalog import restore
from fiso_cli.errors import CommandError
from fiso_cli.main import app
from fiso_cli.stage import Stage
from fiso_cli.training import keys
from localcloud.drill.command import _checks
from localcloud.drill.loss import Findings
from localcloud.drill.traffic import Sample
from tests.builders import NOW, a_record, a_snapshot
from tests.lab.chaos.folder_bucket import FolderBucket
from tests.models import a_signer, promoted

TEMPLATES = Path(__file__).parents[2] / "scripts/serverless"


def test_each_batch_is_in_both_archives_and_what_the_other_region_does_not_take_is_counted() -> None:
    own, other, metrics, clock = InMemoryArchive(), InMemoryArchive(), InMemoryMetrics(), ManualClock()
    archive = CopiedArchive(own=own, other=other, metrics=metrics, stopwatch=clock.ticks)
    archive.append([a_record(1)], batch_id="1")
    other.before = away()
    archive.append([a_record(2), a_record(3)], batch_id="2")
    other.before = answering
    archive.append([a_record(4)], batch_id="4")  # left alone
    assert metrics.total("RecordsNotCopied") == 3
    clock.advance(REST_S)
    archive.append([a_record(5)], batch_id="5")
    first_day = (NOW - timedelta(days=1)).date()
    copied = {record.invocation_id for record in other.since(first_day)}
    assert copied == {a_record(1).invocation_id, a_record(5).invocation_id}
    assert len(list(own.since(first_day))) == 5


def test_a_batch_that_is_not_archived_here_is_not_called_copied() -> None:
    own, other = InMemoryArchive(), InMemoryArchive()
    own.before = away()
    archive = CopiedArchive(own=own, other=other, metrics=InMemoryMetrics(), stopwatch=lambda: 0.0)
    with pytest.raises(StoreUnavailable):
        archive.append([a_record(1)], batch_id="1")
    assert not list(other.since((NOW - timedelta(days=1)).date()))


class Standby:
    """A region that follows another one."""

    def __init__(self) -> None:
        self.now = NOW
        self.signer = a_signer()
        self.leader, self.models = InMemoryModelStore(), InMemoryModelStore()
        self.witness, self.runs = InMemoryPromotionWitness(), InMemoryRetrainingRuns()
        self.follower = Follower(
            leader=self.leader,
            models=self.models,
            runs=self.runs,
            keys=keys.trusting(self.signer),
            stage="local",
            witness=self.witness,
        )

    def promote(self, number: int, version: str, **changes: Any) -> None:
        damaged = changes.pop("damaged", False)
        files = promoted(number, version=version, signer=self.signer, **changes)
        if damaged:
            files = replace(files, artifact=files.artifact + b"x")
        self.leader.publish(files, replaces=self.leader.champion())

    def follow(self) -> tuple[bool, str]:
        self.now += timedelta(minutes=1)
        run = self.follower.retrain(now=self.now, trigger="schedule")
        return run.promoted, run.reason

    def champion(self) -> ModelPointer | None:
        return self.models.champion()


def test_a_standby_takes_over_each_later_champion_and_attests_it() -> None:
    standby = Standby()
    assert standby.follow() == (False, "the leader has no later champion")
    for number, version in ((1, "one"), (2, "two")):
        standby.promote(number, version)
        assert standby.follow() == (True, "taken over")
        assert standby.follow() == (False, "the leader has no later champion")
        taken, led = standby.champion(), standby.leader.champion()
        assert taken is not None
        assert led is not None
        assert (taken.version, taken.manifest, taken.sha256) == (version, led.manifest, led.sha256)
        assert standby.models.artifact(taken) == standby.leader.artifact(led)
        assert standby.witness.read() == led.manifest
    assert [run.promoted for run in standby.runs.latest(5)] == [True, True]


def test_a_standby_goes_on_by_its_own_copy_when_the_leader_is_gone() -> None:
    standby = Standby()
    standby.promote(1, "one")
    standby.follow()
    standby.leader.before = away()
    promoted, reason = standby.follow()
    assert not promoted
    assert "not taken over" in reason
    champion = standby.champion()
    assert champion is not None
    assert standby.models.artifact(champion)


@pytest.mark.parametrize(
    "changes",
    [{"number": 1}, {"number": 2, "stage": "other"}, {"number": 2, "by": "stranger"}, {"number": 2, "damaged": True}],
    ids=str,
)
def test_a_standby_takes_over_nothing_older_of_another_stage_by_a_stranger_or_damaged(
    changes: Mapping[str, Any],
) -> None:
    standby = Standby()
    standby.promote(1, "one")
    standby.follow()
    own = dict(changes)
    if own.pop("by", None):
        standby.signer = keys.new()
    standby.promote(own.pop("number"), "two", **own)
    promoted, _ = standby.follow()
    champion = standby.champion()
    assert not promoted
    assert champion is not None
    assert champion.version == "one"


def test_a_standby_does_not_go_back_by_itself() -> None:
    run = Standby().follower.roll_back(now=NOW, trigger="command")
    assert (run.promoted, "follows another" in run.reason) == (False, True)


def ready(rig: Rig, query: str = "ready=1") -> tuple[int, Any]:
    event = http_event("GET", "/healthz", "") | {"rawQueryString": query}
    answer = rig.send(event)
    return answer["statusCode"], json.loads(answer["body"]).get("ready")


def test_a_region_is_ready_while_its_catalog_is_fresh_and_its_log_answers() -> None:
    rig = Rig()
    assert ready(rig) == (200, True)
    assert ready(rig, "") == (200, None)
    rig.stores.log.before = away()
    assert ready(rig) == (503, False)
    assert ready(rig, "") == (200, None)  # it lives, and serves
    rig.stores.log.before = answering
    assert ready(rig) == (200, True)
    rig.stores.snapshots.before = away()
    rig.clock.advance(120)
    assert ready(rig) == (503, False)


@pytest.mark.parametrize("text", ["us-west-2", "/bucket", "us-west-2/", "us-west-2/B", "a.b/bucket", "us-west-2/a/b"])
def test_a_bucket_of_another_region_is_region_and_bucket(text: str) -> None:
    with pytest.raises(BadSetting, match="must be region/bucket"):
        BucketElsewhere.from_environ({"X": text}, "X")


def test_buckets_of_another_region_are_read_from_the_environment() -> None:
    environ = dict.fromkeys(("FISO_STAGE", "FISO_LOG_TABLE", "FISO_STATE_TABLE", "FISO_BUCKET"), "x")
    there = BucketElsewhere(region="us-west-2", bucket="b-2")
    named = environ | {"FISO_COPIES_TO": "us-west-2/b-2", "FISO_MODELS_FROM": "us-west-2/b-2"}
    assert StreamConsumerSettings.from_environ(named).copies_to == there
    assert RetrainerSettings.from_environ(named).follows == there
    assert StreamConsumerSettings.from_environ(environ).copies_to is None


@pytest.mark.parametrize(
    "text", ["us-west-2", "us-west-2 us-west-2", "us-east-1 us-west-2", "a b c d", "us-west-2 A_B"]
)
def test_keys_are_held_in_three_different_regions_or_one(text: str) -> None:
    environ = {"FISO_STAGE": "local", "FISO_LOG_TABLE": "x", "FISO_STATE_TABLE": "x", "FISO_BUCKET": "x"}
    with pytest.raises(BadSetting, match="FISO_KEY_REGIONS"):
        OrchestratorSettings.from_environ(environ | {"AWS_REGION": "us-east-1", "FISO_KEY_REGIONS": text})


@pytest.mark.parametrize("name", ["front-door.yml", "key-table.yml"])
def test_the_templates_that_stand_alone_are_cloudformations(name: str) -> None:
    assert lint((TEMPLATES / name).read_text(encoding="utf-8"), config=ManualArgs(regions=["us-east-1"])) == []


OWN = """
  Artifacts: {Type: AWS::S3::Bucket}
  EndpointState:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: function_name, AttributeType: S}]
      KeySchema: [{AttributeName: function_name, KeyType: HASH}]
"""


def test_what_a_second_region_adds_to_a_stage_is_cloudformations() -> None:
    text = (TEMPLATES / "second-region.yml").read_text(encoding="utf-8")
    roles = "".join(
        f"  {name}: {{Type: AWS::IAM::Role, Properties: {{AssumeRolePolicyDocument: {{}}}}}}\n"
        for name in ("StreamConsumerRole", "ArchiverRole", "RetrainerRole")
    )
    filled = text.replace("${param:otherBucket}", "b-2").replace("${sls:stage}", "prod")
    filled = filled.replace("${param:alarmActions}", "[]") + roles + OWN
    assert lint(filled, config=ManualArgs(regions=["us-east-1"], ignore_checks=["E3510", "E3530"])) == []


@pytest.mark.slow  # two local clouds with a stage each, and a lease to its end: five minutes
@pytest.mark.timeout(900)
def test_a_drill_loses_a_region_and_everything_that_is_promised_holds() -> None:
    result = CliRunner().invoke(app, ["drill", "region-loss", "--outage", "10", "--json"])
    found = json.loads(result.stdout)
    assert result.exit_code == 0, found
    assert found["held"]
    assert len(found["checks"]) == 10


def a_finding(**changes: Any) -> Findings:
    sample = Sample(caller="through", id="1", began=0, ended=1, is_answered=True)
    held = Findings(
        samples=(sample, replace(sample, caller="leased"), replace(sample, caller="cut off")),
        lost_at=1,
        rpo_s=0,
        left=1,
        answered=1,
        rto_s=0,
        executions={"1": 1},  # type: ignore[arg-type]  # a Counter of it
        declared_s=60,
        went_on_s=60,
        ended_in_no_lease=True,
        reported=2,
        same_catalog=True,
        same_model=True,
        was_ready=True,
        published=3,
        restored=3,
    )
    return replace(held, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"rpo_s": 61.0},
        {"answered": 0},
        {"rto_s": None},
        {"rto_s": 61.0},
        {"executions": {"1": 2}},
        {"went_on_s": 59.0},
        {"ended_in_no_lease": False},
        {"reported": 1},
        {"same_catalog": False},
        {"same_model": False},
        {"was_ready": False},
        {"restored": 1},
        {"samples": ()},
    ],
    ids=str,
)
def test_a_drill_says_so_when_a_promise_did_not_hold(changes: Mapping[str, Any]) -> None:
    assert all(line["held"] for line in _checks(a_finding()))
    assert not all(line["held"] for line in _checks(a_finding(**changes)))


class BucketAlone:
    """Of a stage, what `fiso restore` reads."""

    name, bucket = "local", "b"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def client(self, service: str) -> FolderBucket:
        assert service == "s3"
        return FolderBucket(folder=self._folder)


@pytest.mark.parametrize("is_ours", [True, False])
def test_what_is_restored_was_signed_by_this_stages_keeper(
    is_ours: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISO_LOCAL_DIR", str(tmp_path / "stage"))
    own = keys.ensured(tmp_path / "stage" / "catalog-key")
    stage = BucketAlone(tmp_path / "bucket")
    with pytest.raises(CommandError, match="no catalog is published"):
        restore.published(cast(Stage, stage))
    signer = own if is_ours else keys.passing()
    snapshot = a_snapshot(word_count(), version=42)
    S3Snapshots(stage.client("s3"), "b", keys.sealing(signer)).publish(snapshot)
    if is_ours:
        assert restore.published(cast(Stage, stage)).version == 42
    else:
        with pytest.raises(InvalidCatalog):
            restore.published(cast(Stage, stage))
