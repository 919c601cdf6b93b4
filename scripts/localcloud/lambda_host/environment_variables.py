"""The environment variables of a function: Lambda's own and the configured ones, never the host's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from localcloud.lambda_host.deployment import Deployment
from localcloud.lambda_host.sandbox import LIBRARY_PATH, RUNTIME_ROOT, TASK_ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class HostVariables:
    """What the host gives every function: where AWS is, and what `--function-env` names."""

    aws_endpoint_url: str
    extra: Mapping[str, str] = field(default_factory=dict)


def access_key_of(function_name: str) -> str:
    """The access key by which a recorder of AWS calls tells functions apart."""
    return "LOCAL" + re.sub(r"[^A-Z0-9]", "", function_name.upper())


def log_stream_name(version: str, identity: str, now: datetime) -> str:
    return f"{now:%Y/%m/%d}/[{version}]{identity}"


def function_variables(
    deployment: Deployment, host: HostVariables, *, runtime_api: str, log_stream: str
) -> dict[str, str]:
    """The whole environment. Configured variables cannot change Lambda's reserved ones; the host's extra ones win."""
    return (
        _defaults()
        | dict(deployment.variables)
        | _reserved(deployment, runtime_api, log_stream)
        | _endpoint(deployment, host)
    )


def _defaults() -> dict[str, str]:
    """Those that a function may change. HOME is not Lambda's: without it the SDK reads the developer's ~/.aws."""
    return {
        "HOME": "/tmp",  # nosec B108: the function's own, as on Lambda
        "LANG": "en_US.UTF-8",
        "LD_LIBRARY_PATH": LIBRARY_PATH,
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "TZ": ":UTC",
    }


def _reserved(deployment: Deployment, runtime_api: str, log_stream: str) -> dict[str, str]:
    level = {"AWS_LAMBDA_LOG_LEVEL": deployment.log_level} if deployment.log_level else {}
    return level | {
        "_HANDLER": deployment.handler,
        "AWS_ACCESS_KEY_ID": access_key_of(deployment.name),
        "AWS_DEFAULT_REGION": deployment.region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{deployment.runtime}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(deployment.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": deployment.name,
        "AWS_LAMBDA_FUNCTION_VERSION": deployment.version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_FORMAT": deployment.log_format,
        "AWS_LAMBDA_LOG_GROUP_NAME": deployment.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "AWS_REGION": deployment.region,
        "AWS_SECRET_ACCESS_KEY": "test",  # nosec B105: the emulator takes any
        "LAMBDA_RUNTIME_DIR": RUNTIME_ROOT,
        "LAMBDA_TASK_ROOT": TASK_ROOT,
    }


def _endpoint(deployment: Deployment, host: HostVariables) -> dict[str, str]:
    own = {"AWS_ENDPOINT_URL": host.aws_endpoint_url}
    return own | {k: v for k, v in deployment.variables.items() if k.startswith("AWS_ENDPOINT_URL")} | dict(host.extra)
