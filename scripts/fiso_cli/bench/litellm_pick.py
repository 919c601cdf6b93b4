"""LiteLLM's latency-based pick among 12 deployments, timed by its own interpreter. Nothing of FISO is imported.

`python -I litellm_pick.py`: every line read from standard input is a number of picks; the answer is one line of JSON, the
seconds that each of them took. Before that, one line says the version. No deployment is ever called: each one's
latencies are told to the router as finished calls.
"""

import json
import os
import sys
from datetime import datetime, timedelta
from importlib.metadata import version
from time import perf_counter

DEPLOYMENTS, CALLS_EACH = 12, 40
GROUP = "bench"


def main() -> None:
    """Answer until standard input ends."""
    os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
    from litellm import Router

    deployments = [
        {
            "model_name": GROUP,
            "litellm_params": {"model": "openai/none", "api_key": "none", "api_base": f"http://{number}.invalid"},
            "model_info": {"id": str(number)},
        }
        for number in range(DEPLOYMENTS)
    ]
    router = Router(model_list=deployments, routing_strategy="latency-based-routing")
    print(type(router), router.__class__.__mro__)
    print(router.get_available_deployment(model=GROUP, messages=[{"role": "user", "content": "the quick brown fox"}]))
    print([a for a in dir(router) if "latency" in a.lower()])


main()
