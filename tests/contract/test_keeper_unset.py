"""The keeper on a stage of which nothing is set up yet, a process of its own over an emulator: a round that says so,
and no invocation that fails."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.contract.stores import Emulated
from tests.emulator import aws

ROOT = Path(__file__).parents[2]
ARN = "arn:aws:secretsmanager:us-east-1:000000000000:secret:fiso/prod/"
SECRETS = {"nothing": None, "garbage": {"SecretString": "hunter2"}, "bytes": {"SecretBinary": b"hunter2"}}
PROGRAM = """
import json, os, sys
from functions.keeper import handler

print("round", json.dumps(handler.lambda_handler({}, None)))
for name in sys.argv[2:]:
    os.environ |= {"FISO_DATABASE_SECRET_ARN": sys.argv[1] + name}
    handler._keeper.cache_clear()
    print(name, json.dumps(handler.lambda_handler({"publish": True}, None)))
"""


def test_what_is_missing_or_wrong_is_told_by_the_answer_and_a_metric_and_fails_no_invocation(at: Emulated) -> None:
    with closing(aws("secretsmanager", at.url)) as secrets:
        for name, content in SECRETS.items():
            if content is not None:
                secrets.create_secret(Name=f"fiso/prod/{name}-{at.name}", **content)
    settings = {
        "PYTHONPATH": f"{ROOT}/shared:{ROOT}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": at.url,
        "POWERTOOLS_SERVICE_NAME": "fiso-prod",
        "POWERTOOLS_METRICS_NAMESPACE": "FISO",
        "FISO_STAGE": "prod",
        "FISO_LOG_TABLE": "none",
        "FISO_BUCKET": at.name,  # everything but it is missing
        "FISO_SPILL_LOG_GROUP": "/none",
        "FISO_LEASE_KEYS_PARAMETER": "/none",
        "FISO_DATABASE_SECRET_ARN": f"{ARN}none",
    }
    command = [sys.executable, "-c", PROGRAM, ARN, *(f"{name}-{at.name}" for name in SECRETS)]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if not line.startswith("{"))
    round_, nothing, garbage, bytes_ = (json.loads(text)["problems"] for text in said.values())
    for told in ("spilled lines not all read", "open records not all closed", "catalog not published"):
        assert told in round_
    assert "fiso/prod/nothing" in nothing
    assert "is missing or forbidden to the keeper" in nothing
    assert garbage == "the database URL does not parse"
    assert "fiso/prod/bytes" in bytes_
    metrics = [json.loads(line) for line in done.stdout.splitlines() if '"KeeperProblems"' in line]
    assert [line["KeeperProblems"] for line in metrics] == [[3.0]]
    assert "hunter2" not in done.stdout + done.stderr
