"""One process that does what the retrainer's function does, against a server that speaks S3; prints what it took.

`python -m tests.lab.bench.archive_worker PORT retrain|compact SECONDS [ROWS]`.
"""

import json
import os
import resource
import sys
import time
from datetime import timedelta

from fiso.codecs.run import RUNS
from fiso.codecs.signature import text_of
from fiso.retrainer_settings import RetrainerSettings
from functions.retrainer import wiring
from tests.models import a_signer


def main() -> None:
    port, does, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    environ = {
        "FISO_STAGE": "local",
        "FISO_BUCKET": "bucket",
        "FISO_MODEL_SIGNING_KEY": a_signer().text,
        "FISO_MODEL_KEYS": text_of(a_signer().public.modulus),
        "FISO_MOST_ROWS": sys.argv[4] if len(sys.argv) > 4 else "200000",
    }
    settings, began, now = RetrainerSettings.from_environ(environ), time.monotonic(), wiring.utc_now()
    ends_at = now + timedelta(seconds=seconds)
    if does == "compact":
        done = wiring.compaction(settings).compact(ends_at=ends_at)
        told: dict[str, object] = {"objects": done.objects, "records": done.records, "problem": done.problem}
    else:
        told = dict(RUNS.to_document(wiring.build(settings).retrain(now=now, trigger="command", ends_at=ends_at)))
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told |= {"took_s": time.monotonic() - began, "peak_mb": peak_kb / 1024}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
