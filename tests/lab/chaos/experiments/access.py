"""Row 21: every way of getting in without being who one says, at every door, against the genuine handler."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING

from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, Op, count_of_none, share_reached

if TYPE_CHECKING:
    from tests.lab.chaos.access.cases import Attack, Door, Issuers
    from tests.lab.chaos.access.stage import AttackedStage

LEAST_TRIES = 360


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attack at one door: what came back, and how many calls, records and reads it caused."""

    stage: str
    attack: str
    method: str
    path: str
    expected: int
    status: int
    side_effects: int
    told: str

    @property
    def got_in(self) -> bool:
        """Whether it was answered otherwise than with the refusal it should get."""
        return self.status != self.expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A genuine token at one door: it passes when the answer is the one that a stage gives where nobody is asked."""

    token: str
    method: str
    path: str
    expected: int
    status: int

    @property
    def passed(self) -> bool:
        """Whether it was answered like that."""
        return self.status == self.expected


def run(setting: Setting) -> Sequence[Figure]:
    """Attack a stage for tokens and one for signatures, then see that who should pass does."""
    from tests.lab.chaos.access.stage import quiet

    with quiet():
        return _run(setting)


def _run(setting: Setting) -> Sequence[Figure]:
    from tests.lab.chaos.access.cases import Issuers

    issuers, now = Issuers.fresh(), datetime.now(UTC)
    tries = list(attacks(issuers, now))
    setting.say(f"{len(tries)} attacks, {sum(one.got_in for one in tries)} got in")
    passes = list(admissions(issuers, now))
    taken = tenants_taken(issuers, now)
    flips = setting.sized(full=50_000, quick=3_000)
    accepted = mutations_accepted(issuers, now, flips, Random(setting.seed))  # nosec B311: a repeatable draw
    setting.say(f"{flips} mutated tokens, {accepted} accepted")
    _write(setting, [*map(asdict, tries), *map(asdict, passes), {"tenants": taken}, {"mutations_accepted": accepted}])
    return [*figures(tries, passes, taken), count_of_none("mutated tokens accepted", accepted, flips, "tokens")]


def figures(tries: Sequence[Try], passes: Sequence[Admission], tenants: Sequence[str]) -> list[Figure]:
    """What the tries say."""
    n = len(tries)
    oracle = len({(one.stage, one.told) for one in tries if one.expected == 401}) - len({one.stage for one in tries})
    return [
        Figure(name="attacks at doors", value=n, op=Op.AT_LEAST, target=LEAST_TRIES, unit="tries", n=n),
        count_of_none("attacks that got in", sum(one.got_in for one in tries), n, "tries"),
        count_of_none("attacks with side effects", sum(one.side_effects > 0 for one in tries), n, "tries"),
        Figure(name="401 answers that differ", value=oracle, op=Op.EQUALS, target=0, unit="answers", n=n),
        share_reached("genuine tokens that pass", sum(one.passed for one in passes), len(passes), 1.0),
        count_of_none("tenants taken over", sum(name != "alice" for name in tenants), len(tenants), "requests"),
    ]


def attacks(issuers: "Issuers", now: datetime) -> Iterator[Try]:
    """Every attack at every door."""
    from tests.lab.chaos.access import cases
    from tests.lab.chaos.access.stage import BY_SIGNATURE, BY_TOKEN, AttackedStage
    from tests.tokens import FixedKeys

    keys = FixedKeys.of(issuers.rsa, issuers.curve)
    stages = {
        "jwt": (AttackedStage(BY_TOKEN, keys), cases.attacks_on_tokens(issuers, now)),
        "iam": (AttackedStage(BY_SIGNATURE), cases.attacks_on_signatures(issuers, now)),
    }
    for name, (stage, known) in stages.items():
        for attack in known:
            for door in cases.DOORS:
                if attack.status == 401 or door.is_scoped:
                    yield _try(name, stage, attack, door)


def admissions(issuers: "Issuers", now: datetime) -> Iterator[Admission]:
    """Genuine tokens at every door, held against a stage that asks nobody."""
    from tests.lab.chaos.access.cases import DOORS, genuine
    from tests.lab.chaos.access.stage import BY_TOKEN, UNASKED, AttackedStage
    from tests.tokens import FixedKeys

    stage, unasked = AttackedStage(BY_TOKEN, FixedKeys.of(issuers.rsa, issuers.curve)), AttackedStage(UNASKED)
    for name, event_of in genuine(issuers, now).items():
        for door in DOORS:
            said, expected = stage.send(event_of(door)), unasked.send(door.event())
            yield Admission(
                token=name, method=door.method, path=door.path, expected=expected.status, status=said.status
            )


def tenants_taken(issuers: "Issuers", now: datetime) -> list[str]:
    """Under which tenant FISO calls for alice while the request names another wherever it can."""
    from tests import tokens
    from tests.lab.chaos.access.cases import claiming_to_be_mallory
    from tests.lab.chaos.access.stage import BY_TOKEN, AttackedStage

    stage = AttackedStage(BY_TOKEN, tokens.FixedKeys.of(issuers.rsa))
    for event in claiming_to_be_mallory(issuers.rsa.sign(tokens.payload(now))).values():
        stage.send(event)
    return [str(request.tenant) for request in stage.calls]


def mutations_accepted(issuers: "Issuers", now: datetime, count: int, rng: Random) -> int:
    """How many genuine tokens with one bit flipped, anywhere in what is encoded, are let in."""
    from tests import tokens
    from tests.lab.chaos.access.cases import DOORS
    from tests.lab.chaos.access.stage import BY_TOKEN, AttackedStage

    stage = AttackedStage(BY_TOKEN, tokens.FixedKeys.of(issuers.rsa, issuers.curve))
    genuine = [signer.sign(tokens.payload(now)) for signer in (issuers.rsa, issuers.curve)]
    accepted = 0
    for _ in range(count):
        token = tokens.with_flipped_bit(rng.choice(genuine), rng)
        accepted += stage.send(DOORS[0].event(authorization=f"Bearer {token}")).status != 401
    return accepted + stage.side_effects


def _try(name: str, stage: "AttackedStage", attack: "Attack", door: "Door") -> Try:
    before = stage.side_effects
    said = stage.send(attack.event(door))
    return Try(
        stage=name,
        attack=attack.name,
        method=door.method,
        path=door.path,
        expected=attack.status,
        status=said.status,
        side_effects=stage.side_effects - before,
        told=said.told,
    )


def _write(setting: Setting, rows: Sequence[dict[str, object]]) -> None:
    path = setting.folder / "access.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(
        row=21,
        name="auth-bypass",
        question="Does anybody get in without a token or signature that vouches for them, or learn why not?",
        run=run,
    ),
)
