"""Savings: what routing a function saved against always calling home, net of what FISO itself costs. Batch only.

Home is measured, not guessed: in control blocks of time every request goes there (`routing.control`). All differences
are between control blocks and the others, per request, whatever became of a request in a control block; the intervals
count blocks, not requests, since what happens within a block goes together (`learning.intervals`).

    gross - router - egress - exploration - warming = net

A control block finds the home endpoint colder than full traffic would keep it, which flatters the router: the adjusted
figures give control's calls the cold share of the endpoint that routed traffic used most, and the advice follows them.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from fiso.billing.hop import HOME_REGION
from fiso.billing.tariff import Place, Tariff
from fiso.domain.decision import Reason
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.learning.dataset import Floats
from fiso.learning.intervals import Estimate, Sketch

FEWEST_CONTROL_BLOCKS, FEWEST_ROUTED_BLOCKS = 5, 5
FEWEST_ROUTED = 100
"""Below these nothing is recommended: an interval from fewer blocks says little whatever it is."""


ROUTER: Place = (Provider.AWS, HOME_REGION)
"""Where the router is taken to be that nobody placed."""


class Advice(StrEnum):
    """What the figures say to do with a function."""

    ROUTE = "route"
    LEASE = "lease"
    STOP = "do not route this one"
    WAIT = "not enough data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """USD per request. `net` is gross less all others."""

    gross: float
    router: float
    egress: float
    exploration: float
    warming: float
    net: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """One function. Money in USD and time in ms per request; positive is saved.

    `adjusted_*`: with control's cold share corrected. `leased_usd`: what would be net with the lease's hop instead.
    None where there is too little to compare.
    """

    function: FunctionName
    routed: int
    control: int
    control_blocks: int
    advice: Advice
    why: str
    money: Money | None = None
    time_ms: Estimate | None = None
    adjusted_usd: Estimate | None = None
    adjusted_ms: Estimate | None = None
    leased_usd: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hops:
    """What the hop costs a request of this function, proxied and leased, in USD."""

    proxied: float
    leased: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A record as far as savings go. `explored_usd`: what trying this endpoint cost beyond the best scored one."""

    block: int
    is_control: bool
    is_cold: bool
    endpoint: EndpointId
    usd: float
    ms: float
    own_ms: float
    egress_usd: float
    explored_usd: float


def call_of(record: InvocationRecord, *, block_s: int, prices: Tariff, router: Place = ROUTER) -> Call | None:
    """None for what no comparison can use: not final, unanswered, unpriced, or of a policy that decided (pin, observe).

    A failed request is left out of cost and time; success is what `fiso what-if` and the dashboards speak of.
    """
    decision, result = record.decision, record.result
    if record.status is not RecordStatus.FINAL or result.endpoint is None or result.cloud_provider is None:
        return None
    if result.cost_usd is None or result.error_occurred or decision.reason in (None, Reason.POLICY):
        return None
    return Call(
        block=int(record.timestamp.timestamp() // block_s),
        is_control=decision.reason is Reason.CONTROL,
        is_cold=result.cold_start is True,
        endpoint=result.endpoint,
        usd=result.cost_usd,
        ms=sum(attempt.latency_ms for attempt in record.attempts),
        own_ms=result.overhead_ms or 0.0,
        egress_usd=prices.transfer_usd(
            router,
            (result.cloud_provider, result.region or router[1]),
            request_bytes=record.request.request_size_bytes,
            response_bytes=result.response_size_bytes,
        ),
        explored_usd=_explored(record),
    )


def saving(function: FunctionName, calls: Iterable[Call], hops: Hops) -> Saving:
    known = list(calls)
    # By blocks, not by reason: a request that failed over in a control block belongs to control, or control would look
    # better than it was.
    of_control = {call.block for call in known if call.is_control}
    control = [call for call in known if call.block in of_control]
    routed = [call for call in known if call.block not in of_control]
    blocks = len(of_control)
    lack = _lack(routed, blocks)
    if lack:
        return Saving(
            function=function,
            routed=len(routed),
            control=len(control),
            control_blocks=blocks,
            advice=Advice.WAIT,
            why=lack,
        )
    adjust = _adjustment(control, routed)
    money = _money(control, routed, hops.proxied)
    time_ms = _difference(control, routed, lambda call: call.ms, besides=lambda call: call.own_ms)
    adjusted_usd = _shifted(money.net, adjust(lambda call: call.usd + call.egress_usd))
    adjusted_ms = _shifted(time_ms, adjust(lambda call: call.ms))
    advice, why = _advice(adjusted_usd, adjusted_ms, _shifted(adjusted_usd, hops.proxied - hops.leased))
    return Saving(
        function=function,
        routed=len(routed),
        control=len(control),
        control_blocks=blocks,
        money=money,
        time_ms=time_ms,
        adjusted_usd=adjusted_usd,
        adjusted_ms=adjusted_ms,
        leased_usd=_shifted(money.net, hops.proxied - hops.leased),
        advice=advice,
        why=why,
    )


Value = Callable[[Call], float]


def _money(control: Sequence[Call], routed: Sequence[Call], router: float) -> Money:
    spent = _difference(control, routed, lambda call: call.usd + call.egress_usd)
    exploration = _mean(routed, lambda call: call.explored_usd)
    egress = _mean(routed, lambda call: call.egress_usd) - _mean(control, lambda call: call.egress_usd)
    gross = _mean(control, lambda call: call.usd) - _mean(routed, lambda call: call.usd) + exploration
    return Money(
        gross=gross,
        router=router,
        egress=egress,
        exploration=exploration,
        warming=0.0,  # nothing keeps endpoints warm yet
        net=_shifted(spent, -router),
    )


def _difference(
    control: Sequence[Call], routed: Sequence[Call], value: Value, *, besides: Value = lambda _: 0.0
) -> Estimate:
    """control - routed, per request, `besides` being charged to routed requests only; the interval by blocks."""
    ours, theirs = _influences(control, value), _influences(routed, lambda call: value(call) + besides(call))
    return Sketch(
        value=_mean(control, value) - _mean(routed, lambda call: value(call) + besides(call)),
        influences=np.concatenate([ours, -theirs]),
        sample_size=float(min(len(ours), len(theirs))),
    ).estimate()


def _influences(calls: Sequence[Call], value: Value) -> Floats:
    """How far each block moves the mean."""
    mean = _mean(calls, value)
    by_block: defaultdict[int, float] = defaultdict(float)
    for call in calls:
        by_block[call.block] += value(call) - mean
    return np.array(list(by_block.values()), dtype=np.float64) / len(calls)


def _adjustment(control: Sequence[Call], routed: Sequence[Call]) -> Callable[[Value], float]:
    """What control's mean changes by when it is given the cold share of routed traffic's busiest endpoint.

    Only where that is the lower one: the adjustment never speaks for the router.
    """
    busiest, _ = Counter(call.endpoint for call in routed).most_common(1)[0]
    there = [call for call in routed if call.endpoint == busiest]
    cold, warm = [c for c in control if c.is_cold], [c for c in control if not c.is_cold]
    if not cold or not warm:
        return lambda _: 0.0
    own = len(cold) / len(control)
    # Control's endpoint is colder only because it is called less; the correction is never in the router's favour.
    share = min(own, sum(call.is_cold for call in there) / len(there))
    return lambda value: (share - own) * (_mean(cold, value) - _mean(warm, value))


def _advice(net: Estimate, time_ms: Estimate, leased: Estimate) -> tuple[Advice, str]:
    if net.low > 0:
        return Advice.ROUTE, "it saves money, net"
    if time_ms.low > 0 and net.high > 0:
        return Advice.ROUTE, "it saves time, and no money is known to be lost"
    if leased.low > 0:
        return Advice.LEASE, "the proxy's hop eats what routing saves, the lease's would not"
    if time_ms.low > 0:
        return Advice.LEASE, "it saves time and costs money; the lease's hop costs less"
    if net.high < 0:
        return Advice.STOP, "it costs more than it saves, and saves no time"
    return Advice.WAIT, "the intervals hold 0: neither a gain nor a loss is shown"


def _lack(routed: Sequence[Call], control_blocks: int) -> str | None:
    if not control_blocks:
        return "no control requests: set control_share and home in the function's policy"
    if control_blocks < FEWEST_CONTROL_BLOCKS:
        return f"{control_blocks} control blocks of the {FEWEST_CONTROL_BLOCKS} that are needed"
    if len(routed) < FEWEST_ROUTED or len({call.block for call in routed}) < FEWEST_ROUTED_BLOCKS:
        return f"{len(routed)} routed requests: {FEWEST_ROUTED} in {FEWEST_ROUTED_BLOCKS} blocks are needed"
    return None


def _explored(record: InvocationRecord) -> float:
    """The whole bill less what the best scored candidate was predicted to cost; 0 where no price is known."""
    if record.decision.reason is not Reason.EXPLORE or record.result.cost_usd is None or not record.decision.candidates:
        return 0.0
    best = max(record.decision.candidates, key=lambda candidate: candidate.score)
    return 0.0 if best.cost_usd is None else record.result.cost_usd - best.cost_usd


def _mean(calls: Sequence[Call], value: Value) -> float:
    return sum(map(value, calls)) / len(calls)


def _shifted(estimate: Estimate, by: float) -> Estimate:
    return Estimate(value=estimate.value + by, low=estimate.low + by, high=estimate.high + by)
