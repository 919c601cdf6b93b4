"""Row 19: clocks that are wrong by a quarter of an hour, set back or forward in the middle, or in another time zone."""

from collections.abc import Sequence

from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, count_of_none, share_reached

REQUESTS, QUICK_REQUESTS = 2_000, 200


def run(setting: Setting) -> Sequence[Figure]:
    """Requests on a clock that is stepped by every amount; what is violated is counted, not raised."""
    from tests.lab.chaos import wrong_clocks

    setting.say("steps of the clock")
    steps = wrong_clocks.stepped(setting, setting.sized(REQUESTS, QUICK_REQUESTS))
    setting.say("leases between clocks that differ")
    leases = wrong_clocks.leases_between_skewed_clocks()
    zones = wrong_clocks.decided_alike_in_every_zone()
    requests = sum(step.requests for step in steps)
    return (
        count_of_none("failed requests", sum(step.failed for step in steps), requests, "requests"),
        count_of_none("negative times in records", sum(step.negative for step in steps), requests, "records"),
        share_reached("changes in force within 10 s of a step", sum(s.is_followed for s in steps), len(steps), 1.0),
        count_of_none("values lost by a step", sum(step.is_lost for step in steps), len(steps), "steps"),
        share_reached("endpoints tried again after a step back", sum(s.is_retried for s in steps), len(steps), 1.0),
        share_reached("leases that a skew of 60 s leaves valid", sum(leases), len(leases), 1.0),
        share_reached("decisions that no time zone changes", sum(zones), len(zones), 1.0),
    )


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(
        row=19,
        name="clocks",
        question="Does a clock that is wrong or steps make a time negative, a value last for ever, or a lease invalid?",
        run=run,
    ),
)
