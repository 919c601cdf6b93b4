"""LiteLLM's latency-based pick among 12 deployments, timed by its own interpreter. Nothing of FISO is imported.

`python -I litellm_pick.py`: each line of standard input is a number of picks; the answer is a line of JSON, the seconds
that each of them took. A first line of JSON says LiteLLM's version. No deployment is ever called: their latencies are
told to the strategy as finished calls. Without messages, which spares LiteLLM the counting of their tokens.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import datetime, timedelta
from importlib.metadata import version
from time import perf_counter

DEPLOYMENTS, CALLS_EACH = 12, 40
GROUP = "bench"
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
"""No list of prices from the network, no .env file."""


def main() -> None:
    """Answer until standard input ends."""
    os.environ.update(QUIET)
    with redirect_stdout(sys.stderr):
        pick = picker()
    say(version("litellm"))
    for line in sys.stdin:
        say([seconds(pick) for _ in range(int(line))])


def picker() -> Callable[[], object]:
    """A pick by the router, after 40 calls of each deployment with latencies 10 ms apart; it is the fastest's."""
    import litellm
    from litellm.router_strategy.lowest_latency import LowestLatencyLoggingHandler

    router = litellm.Router(
        model_list=[deployment(number) for number in range(DEPLOYMENTS)], routing_strategy="latency-based-routing"
    )
    (strategy,) = [known for known in litellm.callbacks if isinstance(known, LowestLatencyLoggingHandler)]
    began = datetime.now()  # noqa: DTZ005 # as LiteLLM's own times are
    for call in range(CALLS_EACH):
        for number in range(DEPLOYMENTS):
            ended = began + timedelta(milliseconds=100 + 10 * number + call % 7)
            about = {"metadata": {"model_group": GROUP}, "model_info": {"id": str(number)}}
            strategy.log_success_event({"litellm_params": about}, None, began, ended)

    def pick() -> object:
        return router.get_available_deployment(model=GROUP)["model_info"]["id"]

    if pick() != "0":
        raise SystemExit("LiteLLM does not pick the fastest deployment: what it was told did not arrive")
    return pick


def deployment(number: int) -> dict[str, object]:
    """One of the group's; its address leads nowhere."""
    return {
        "model_name": GROUP,
        "litellm_params": {"model": "openai/none", "api_key": "none", "api_base": f"http://{number}.invalid"},
        "model_info": {"id": str(number)},
    }


def seconds(pick: Callable[[], object]) -> float:
    """What one pick takes."""
    start = perf_counter()
    pick()
    return perf_counter() - start


def say(content: object) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
