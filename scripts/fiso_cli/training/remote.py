"""A stage's retrainer: one invocation on demand, and the key it signs with."""

import json
from collections.abc import Mapping
from typing import Any

from fiso.adapters.http.signers import KmsSigner
from fiso.prediction.signature import PublicKey
from fiso_cli.errors import CommandError
from fiso_cli.stage import Stage
from fiso_cli.training import keys

LONGEST_S = 900
"""A Lambda's 15 minutes."""


def retrain(stage_name: str) -> Mapping[str, Any]:
    """Invoke the retrainer once and wait for the run. `CommandError` when there is none."""
    stage = Stage.named(stage_name)
    function = stage.function_name("retrainer")
    client = _lambda_client(stage)
    with stage.wrapped_errors():
        answer = client.invoke(FunctionName=function, Payload=b'{"trigger": "command"}')
        payload = answer["Payload"].read()
    try:
        run = json.loads(payload)
    except ValueError as error:
        raise CommandError(f"{function} did not answer with JSON: {payload[:80]!r}") from error
    if answer.get("FunctionError") or not isinstance(run, dict) or "promoted" not in run:
        raise CommandError(f"{function} failed: {_message(run)}")
    return run


def public_key(stage_name: str) -> PublicKey:
    """The public half of the stage's signing key, made on first use on the local stage."""
    stage = Stage.named(stage_name)
    if stage.local is not None:
        return keys.ensured(keys.local_file(stage.local)).public
    with stage.wrapped_errors():
        return KmsSigner(stage.client("kms"), f"alias/fiso-{stage.name}-models").public_key()


def _lambda_client(stage: Stage) -> Any:
    """Never tried twice: a retraining that is still running would be started again."""
    from botocore.config import Config

    patience = Config(connect_timeout=3, read_timeout=LONGEST_S, retries={"total_max_attempts": 1})
    address = None if stage.local is None else stage.local.lambda_host_url
    with stage.wrapped_errors():
        return stage.session.client("lambda", region_name=stage.region, endpoint_url=address, config=patience)


def _message(answer: object) -> str:
    fields = answer if isinstance(answer, Mapping) else {}
    return str(fields.get("errorMessage") or answer)[:300]
