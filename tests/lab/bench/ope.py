"""How often off-policy intervals cover the truth, over a world where all outcomes are known: the truth is exact.

A run draws situations from the world's rounds, calls by an inverse-gap policy for latency, and evaluates the router's
own choice under other weights from the log alone. The rival is what one would do without propensities: the mean of the
calls that happened to go where the new policy would, with Student's interval.
"""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from fiso.domain.decision import Prediction, PredictionSource, Score
from fiso.domain.endpoint import EndpointId
from fiso.domain.policy import Scoring, Weights
from fiso.learning.intervals import Estimate
from fiso.learning.ope import LoggedCandidate, LoggedDecision, Probabilities, Refusal, evaluate
from fiso.routing import scoring, selection
from fiso_cli.worlds.figures import interval
from fiso_cli.worlds.inputs import paired_folder
from fiso_cli.worlds.objective import Objective
from fiso_cli.worlds.trace import Trace, read
from fiso_cli.worlds.trace_worlds import losses
from tests.lab.bench.rows import Row, at_least, row

RUNS = 200
RECORDS = 2_000
LEAST_COVERAGE = 0.90
GAMMA = 20.0
"""How steeply the behaviour policy's propensities fall with the gap (SquareCB; Foster and Rakhlin 2020)."""
PRIOR_SHARE = 6
"""One round in so many, the oldest ones, makes the predictions and is not drawn from."""
EXPLORATION = 0.05
LOGGING = Weights(latency=1, cost=0, reliability=0, region_affinity=0)
EVALUATED = Weights(region_affinity=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One request of a known world: what every endpoint would lose, what each is predicted to, and both policies."""

    losses: Mapping[EndpointId, float]
    predicted: Mapping[EndpointId, float]
    behaviour: Probabilities
    evaluation: Probabilities

    def logged(self, rng: random.Random) -> LoggedDecision:
        """The decision as a log would have it, by one draw of the behaviour policy."""
        (called,) = rng.choices(list(self.behaviour), list(self.behaviour.values()))
        return LoggedDecision(
            candidates=tuple(
                LoggedCandidate(endpoint=endpoint, propensity=chance, predicted_loss=self.predicted[endpoint])
                for endpoint, chance in self.behaviour.items()
            ),
            called=called,
            loss=self.losses[called],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """In how many of `runs` the interval held the truth. A refused run holds nothing and counts as a miss."""

    runs: int
    refused: int
    snips: int
    dr: int
    unweighted: int


def rows() -> list[Row]:
    """Over the measured paired trace, or over a generated world where it is not at hand."""
    path = paired_folder() / "sebs2020.csv.gz"
    world = measured(read(path)) if path.exists() else generated(random.Random(1))  # nosec B311 # repeatable
    found = cover(world, runs=RUNS, records=RECORDS)
    return [
        row(
            f"ope_coverage_{name}",
            hits / found.runs,
            "of 95 % intervals",
            rival="unweighted mean of matching calls",
            rival_value=found.unweighted / found.runs,
            n=found.runs,
            gate=at_least(LEAST_COVERAGE),
            more_is_better=True,
        )
        for name, hits in (("snips", found.snips), ("dr", found.dr))
    ]


def cover(world: Sequence[Situation], *, runs: int, records: int) -> Coverage:
    """Log so many runs, each with a seed of its own, and count the intervals that hold the truth."""
    truth = fmean(_value(situation) for situation in world)
    refused = snips = dr = unweighted = 0
    for seed in range(runs):
        rng = random.Random(seed)  # nosec B311 # repeatable, no secrets
        drawn = [(situation.logged(rng), situation.evaluation) for situation in rng.choices(world, k=records)]
        unweighted += _matching_holds(drawn, truth)
        found = evaluate(drawn)
        if isinstance(found, Refusal):
            refused += 1
            continue
        snips += _holds(found.snips, truth)
        dr += _holds(found.dr, truth)
    return Coverage(runs=runs, refused=refused, snips=snips, dr=dr, unweighted=unweighted)


def measured(trace: Trace) -> list[Situation]:
    """A paired trace's rounds; predictions are the function's means in its oldest rounds, failures charged."""
    charged = {objective: losses(trace, objective) for objective in (Objective.LATENCY, Objective.COST)}
    cut = len(trace.rounds) // PRIOR_SHARE
    known: defaultdict[tuple[str, EndpointId], list[int]] = defaultdict(list)
    for number, played in enumerate(trace.rounds[:cut]):
        for arm in played.calls:
            known[played.function, arm].append(number)
    usual = {
        (function, arm): _prediction(
            arm, *(fmean(charged[o][number][arm] for number in numbers) for o in (Objective.LATENCY, Objective.COST))
        )
        for (function, arm), numbers in known.items()
    }
    return [
        _situation(charged[Objective.LATENCY][number], [usual[played.function, arm] for arm in played.calls])
        for number, played in enumerate(trace.rounds[cut:], start=cut)
        if all((played.function, arm) in usual for arm in played.calls)
    ]


def generated(rng: random.Random, situations: int = 4_000) -> list[Situation]:
    """A world of three endpoints and log-normal latencies, with predictions that are off by up to a third."""
    world = []
    for _ in range(situations):
        means = {EndpointId(name): rng.uniform(50, 150) for name in ("aws", "azure", "gcp")}
        predictions = [
            _prediction(name, mean * rng.uniform(0.7, 1.3), 1e-6 * rng.uniform(1, 2)) for name, mean in means.items()
        ]
        world.append(
            _situation({name: mean * rng.lognormvariate(-0.125, 0.5) for name, mean in means.items()}, predictions)
        )
    return world


def _prediction(endpoint: EndpointId, latency_ms: float, cost_usd: float) -> Prediction:
    return Prediction(
        endpoint=endpoint,
        latency_ms=latency_ms,
        cost_usd=cost_usd,
        success_probability=1.0,
        source=PredictionSource.MODEL,
        features=(),
        raw_latency_ms=latency_ms,
    )


def _situation(charged: Mapping[EndpointId, float], predictions: Sequence[Prediction]) -> Situation:
    wanted = _scores(predictions, EVALUATED)
    chances = selection.propensities(wanted, exploration=EXPLORATION, seen=0.0)
    return Situation(
        losses=charged,
        predicted={prediction.endpoint: prediction.latency_ms for prediction in predictions},
        behaviour=_inverse_gap(_scores(predictions, LOGGING)),
        evaluation={score.endpoint: chance for score, chance in zip(wanted, chances, strict=True)},
    )


def _scores(predictions: Sequence[Prediction], weights: Weights) -> list[Score]:
    nowhere = {prediction.endpoint: 0.0 for prediction in predictions}
    return scoring.score(predictions, nowhere, weights=weights, scoring=Scoring.RELATIVE)


def _inverse_gap(scores: Sequence[Score]) -> Probabilities:
    best = scores[0]
    others = {s.endpoint: 1 / (len(scores) + GAMMA * (best.value / s.value - 1)) for s in scores[1:]}
    return {best.endpoint: 1 - sum(others.values()), **others}


def _value(situation: Situation) -> float:
    return sum(chance * situation.losses[endpoint] for endpoint, chance in situation.evaluation.items())


def _holds(found: Estimate, truth: float) -> bool:
    return found.low <= truth <= found.high


def _matching_holds(drawn: Sequence[tuple[LoggedDecision, Probabilities]], truth: float) -> bool:
    matching = [decision.loss for decision, policy in drawn if decision.called == max(policy, key=lambda e: policy[e])]
    found = interval(matching)
    return found is not None and found.low <= truth <= found.high
