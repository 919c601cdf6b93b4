"""One execution environment, as `cold.py` starts it: imports the handler, says so, and answers one request when told.

Imports nothing of the tree that this file lies in. Its answers are lines: milliseconds until ready, milliseconds of the
first request and its status. On standard input a line lets it go on.
"""

import json
import os
import sys
from time import perf_counter
from types import ModuleType

BEFORE_SNAPSHOT: list = []  # type: ignore[type-arg]
AFTER_RESTORE: list = []  # type: ignore[type-arg]


class Context:
    function_name = memory_limit_in_mb = invoked_function_arn = aws_request_id = "cold"

    def get_remaining_time_in_millis(self) -> int:
        return 29_000


def main() -> None:
    hooks = ModuleType("snapshot_restore_py")  # as Lambda's runtime has it
    hooks.register_before_snapshot = lambda *words: BEFORE_SNAPSHOT.append(words)  # type: ignore[attr-defined]
    hooks.register_after_restore = lambda *words: AFTER_RESTORE.append(words)  # type: ignore[attr-defined]
    sys.modules[hooks.__name__] = hooks
    event = json.loads(os.environ.pop("COLD_EVENT"))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the function logs is in nobody's way

    sys.stdin.readline()
    began = perf_counter()
    from functions.orchestrator.handler import lambda_handler

    ready_ms = (perf_counter() - began) * 1000
    for call, *words in BEFORE_SNAPSHOT:
        call(*words)
    print(f"{ready_ms:.3f}", file=out, flush=True)
    sys.stdin.readline()
    began = perf_counter()
    for call, *words in AFTER_RESTORE:
        call(*words)
    answer = lambda_handler(event, Context())
    print(f"{(perf_counter() - began) * 1000:.3f} {answer['statusCode']}", file=out, flush=True)


if __name__ == "__main__":
    main()
