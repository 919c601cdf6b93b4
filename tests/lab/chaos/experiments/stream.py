"""Experiments on the stream: repeated, reordered and interrupted deliveries (row 17), poison (row 18)."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil, log2
from random import Random
from typing import TYPE_CHECKING, Any

from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, Op, count_of_none, quantile

if TYPE_CHECKING:
    from fiso.domain.record import InvocationRecord
    from localcloud.stream_pump.rules import Record
    from tests.lab.chaos.emulator import EmulatorProcess
    from tests.lab.chaos.log.scripted_stream import Notes, ScriptedShard

BATCH = 100
DUPLICATES = 0.2
LOST_ANSWERS = 0.1
KILLS = 0.05
RETRIES = 3
LONGEST_LAG_S = 60.0
RATE = 250.0
"""Records a second, over all shards."""


def repeated_deliveries(setting: Setting) -> Sequence[Figure]:
    """Row 17: duplicates, lost answers, killed consumers, a split shard, all replayed: each record folds once."""
    from fiso.adapters.aws.archive import S3Archive
    from fiso.adapters.aws.dynamodb import closed_item
    from tests.lab.chaos.log import scripted_stream as scripted
    from tests.lab.chaos.log.records import closed_records
    from tests.lab.chaos.rig.stores import BUCKET

    rng = Random(setting.seed)  # nosec B311 # draws a history
    records = closed_records(rng, setting.sized(10_000, 1_500))
    with ExitStack() as ending:
        cloud = _emulator(setting, ending)
        stores, notes = scripted.genuine_stores(cloud, [closed_item(record) for record in records]), scripted.Notes()
        consumer = scripted.Consumer(
            stores, notes, kill=lambda: rng.random() < KILLS, lose=lambda: rng.random() < LOST_ANSWERS
        )
        letters = scripted.NotedDeadLetters(cloud, notes)
        unread = 0
        for repetition in range(1 + RETRIES):
            setting.say(f"delivering {len(records)} records, time {repetition + 1}")
            shards = _shards(records, rng)
            place = setting.folder / f"checkpoints{repetition}.json"
            unread += not scripted.drain(shards, consumer, letters, place, within=timedelta(minutes=30))
        states = stores.states.of_function(records[0].request.function_name)
        archive = S3Archive(cloud.client("s3"), BUCKET, clock=lambda: datetime.now(UTC))
        archived = [record.invocation_id for record in archive.since(records[0].timestamp.date())]
    _write_history(setting, notes)
    deliveries = notes.deliveries.total()
    ids = {record.invocation_id for record in records}
    folded = [id for _, ids in notes.commits for id in ids]
    off = _differences(notes, {record.invocation_id: record for record in records}, states)
    return [
        Figure(name="deliveries a record", value=deliveries / len(ids), op=Op.AT_LEAST, target=2, unit="", n=len(ids)),
        Figure(name="consumers killed", value=notes.kills, op=Op.AT_LEAST, target=1, unit="kills", n=deliveries),
        Figure(name="answers lost", value=notes.lost_answers, op=Op.AT_LEAST, target=1, unit="answers", n=deliveries),
        count_of_none("shards not read to their end", unread, 1 + RETRIES, "runs"),
        count_of_none("records not folded", len(ids - set(folded)), len(ids), "records"),
        count_of_none("records folded twice", len(folded) - len(set(folded)), len(ids), "records"),
        count_of_none("state fields off the fold of the log", off, len(ids), "fields"),
        count_of_none("records missing from the archive", len(ids - set(archived)), len(ids), "records"),
        count_of_none("records twice in the archive as read", len(archived) - len(set(archived)), len(ids), "records"),
    ]


def poison(setting: Setting) -> Sequence[Figure]:
    """Row 18: one record in a hundred cannot be read, then a whole batch: others are folded, poison is kept whole."""
    from tests.lab.chaos.log import scripted_stream as scripted
    from tests.lab.chaos.log.records import closed_records, poisoned

    rng = Random(setting.seed)  # nosec B311 # draws a history
    good = closed_records(rng, setting.sized(8_000, 1_800))
    with ExitStack() as ending:
        cloud = _emulator(setting, ending)
        images = _with_poison(good, rng, [poisoned(rng, n) for n in range(len(good) // 100 + BATCH)])
        stores, notes = scripted.genuine_stores(cloud, images), scripted.Notes()
        consumer = scripted.Consumer(stores, notes, kill=lambda: False, lose=lambda: False)
        shards = _released(images)
        setting.say(f"delivering {len(good)} records and {len(images) - len(good)} that cannot be read")
        letters = scripted.NotedDeadLetters(cloud, notes)
        place = setting.folder / "checkpoints.json"
        drained = scripted.drain(shards, consumer, letters, place, within=timedelta(minutes=30))
        kept = _dead_letters(cloud)
    _write_history(setting, notes)
    bad = {r.sequence_number: r for shard in shards for r in shard.records if _is_poison(r)}
    whole = [number for number, event in kept.items() if number in bad and event == bad[number].event]
    folded = {id for _, ids in notes.commits for id in ids}
    unfolded = {record.invocation_id for record in good} - folded
    return [
        count_of_none("shards not read to their end", int(not drained), len(shards), "shards"),
        count_of_none("readable records not folded", len(unfolded), len(good), "records"),
        count_of_none("poison not whole in S3", len(bad) - len(whole), len(bad), "records"),
        count_of_none("dead letters that are no poison", len(kept.keys() - bad.keys()), len(kept), "records"),
        _most("deliveries of a poison record alone", [notes.alone[n] for n in bad], 1 + RETRIES, "deliveries"),
        _most(
            "its deliveries beside others, at most two bisections of a batch",
            [notes.deliveries[number] - notes.alone[number] for number in bad],
            2 * (1 + ceil(log2(BATCH))),
            "deliveries",
        ),
        _most("shard lag", list(notes.lag_s.values()), LONGEST_LAG_S, "s"),
        Figure(
            name="shard lag, p99",
            value=quantile(list(notes.lag_s.values()), 0.99),
            op=Op.AT_MOST,
            target=LONGEST_LAG_S,
            unit="s",
            n=len(notes.lag_s),
        ),
    ]


EXPERIMENTS = (
    Experiment(
        row=17,
        name="stream-repeated",
        question="Is every record folded exactly once when deliveries repeat, reorder and consumers are killed?",
        run=repeated_deliveries,
    ),
    Experiment(
        row=18,
        name="stream-poison",
        question="Does a record that cannot be read stop any other, and is it kept whole?",
        run=poison,
    ),
)


def _emulator(setting: Setting, ending: ExitStack) -> "EmulatorProcess":
    from tests.lab.chaos.rig.stores import running_emulator

    home = setting.folder / "emulator"
    home.mkdir()
    return ending.enter_context(running_emulator(home))


def _shards(records: "Sequence[InvocationRecord]", rng: Random) -> "list[ScriptedShard]":
    """A parent that is closed half way and its two children, beside another shard: 20 % of all records come twice, the
    second time in whichever shard."""
    from fiso.adapters.aws.dynamodb import closed_item
    from tests.lab.chaos.log.scripted_stream import ScriptedShard, record_of

    twice = [*records, *(record for record in records if rng.random() < DUPLICATES)]
    rng.shuffle(twice)
    now = datetime.now(UTC)
    stream = [record_of(number, closed_item(record), now) for number, record in enumerate(twice, 1)]
    lanes = {"parent": list["Record"](), "left": list["Record"](), "right": list["Record"](), "other": list["Record"]()}
    for number, record in enumerate(stream):
        early = number < len(stream) // 2
        lanes[rng.choice(("parent", "other") if early else ("left", "right", "other"))].append(record)
    parents = {"left": "parent", "right": "parent"}
    return [ScriptedShard(id=name, records=tuple(lane), parent=parents.get(name)) for name, lane in lanes.items()]


def _with_poison(
    good: "Sequence[InvocationRecord]", rng: Random, bad: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Images in their order: poison strewn in, but for its last batch, which stands together."""
    from fiso.adapters.aws.dynamodb import closed_item

    images: list[Mapping[str, Any]] = [closed_item(record) for record in good]
    for image in bad[:-BATCH]:
        images.insert(rng.randrange(len(images)), image)
    middle = len(images) // 2
    return [*images[:middle], *bad[-BATCH:], *images[middle:]]


def _released(images: Sequence[Mapping[str, Any]]) -> "list[ScriptedShard]":
    """Two shards that take turns by blocks of two batches; records come at RATE."""
    from tests.lab.chaos.log.scripted_stream import ScriptedShard, record_of

    start = datetime.now(UTC)
    stream = [
        record_of(number, image, start + timedelta(seconds=number / RATE)) for number, image in enumerate(images, 1)
    ]
    lanes: tuple[list[Record], list[Record]] = ([], [])
    for position, record in enumerate(stream):
        lanes[position // (2 * BATCH) % 2].append(record)
    return [ScriptedShard(id=f"shard{number}", records=tuple(lane)) for number, lane in enumerate(lanes)]


def _is_poison(record: "Record") -> bool:
    from fiso.adapters.aws.dynamodb import record_from_item
    from fiso.domain.errors import InvalidRecord

    try:
        record_from_item(record.event["dynamodb"]["NewImage"])  # type: ignore[index]
    except InvalidRecord:
        return True
    return False


def _dead_letters(cloud: "EmulatorProcess") -> dict[str, Any]:
    """The records in the dead-letter bucket, by sequence number."""
    from fiso_cli.deadletter.dead_letters import PREFIXES
    from tests.lab.chaos.rig.stores import BUCKET

    s3 = cloud.client("s3")
    listed = s3.get_paginator("list_objects_v2")
    pages = [page for prefix in PREFIXES for page in listed.paginate(Bucket=BUCKET, Prefix=prefix)]
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    letters = [json.load(s3.get_object(Bucket=BUCKET, Key=key)["Body"]) for key in keys]
    events = [event for letter in letters for event in json.loads(letter["payload"])["Records"]]
    return {event["dynamodb"]["SequenceNumber"]: event for event in events}


def _differences(notes: "Notes", records: "Mapping[str, InvocationRecord]", states: Mapping[Any, Any]) -> int:
    """Fields in which a stored state differs from the fold of its records, in the order of the state's versions."""
    from fiso.domain.state import EndpointState
    from fiso.routing.fold import fold
    from tests.lab.chaos.log.scripted_stream import by_endpoint

    off = 0
    orders = by_endpoint(notes)
    for (_, endpoint), order in orders.items():
        alone: dict[Any, EndpointState] = {}
        for id in order:
            alone = {id: state for id, state in fold(alone, records[id]).items() if id == endpoint}
        expected = alone[endpoint]
        stored = replace(states[endpoint], version=0)
        # how a copy does against its siblings depends on theirs, of which this fold knows nothing
        own = [name for name in EndpointState.__slots__ if name != "conduct"]
        off += sum(getattr(stored, name) != getattr(expected, name) for name in own)
    folded: int = sum(state.folded for state in states.values())
    return off + abs(folded - len(records)) + abs(len(states) - len(orders))


def _most(name: str, values: Sequence[float], target: float, unit: str) -> Figure:
    return Figure(name=name, value=max(values), op=Op.AT_MOST, target=target, unit=unit, n=len(values))


def _write_history(setting: Setting, notes: "Notes") -> None:
    with (setting.folder / "history.jsonl").open("w", encoding="utf-8") as lines:
        for number, times in sorted(notes.deliveries.items()):
            row = {"sequence": number, "deliveries": times, "alone": notes.alone[number]}
            lines.write(json.dumps({**row, "lag_s": notes.lag_s.get(number)}) + "\n")
