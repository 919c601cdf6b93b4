"""An execution environment: one runtime of one function, one invocation at a time, from its cold start to its end."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fiso_cli.access_key import AccessKey, access_key_of
from fiso_cli.local_stage import LOCAL_STAGE
from localcloud.lambda_host import log_lines
from localcloud.lambda_host.function import Deployment, Invocation, InvocationResult, RunnableFunction, new_request_id
from localcloud.lambda_host.log_lines import Fault, LogTail, Usage
from localcloud.lambda_host.runtime import Exit, Reply, Runtime, Work
from localcloud.lambda_host.sandbox import LIBRARY_PATH, RUNTIME_ROOT, TASK_ROOT, Launch, Sandbox

INIT_LIMIT_S = 10.0
UNHANDLED = "Unhandled"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostVariables:
    """What the host gives every function: where AWS is, what it asks for, and what `--function-env` names."""

    aws_endpoint_url: str
    key: AccessKey
    extra: Mapping[str, str] = field(default_factory=dict)


def log_stream_name(version: str, identity: str, now: datetime) -> str:
    return f"{now:%Y/%m/%d}/[{version}]{identity}"


def function_variables(
    deployment: Deployment, host: HostVariables, *, runtime_api: str, log_stream: str
) -> dict[str, str]:
    """The whole environment. Configured variables cannot change Lambda's reserved ones; the host's extra ones win."""
    return (
        _defaults()
        | dict(deployment.variables)
        | _reserved(deployment, host.key, runtime_api, log_stream)
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


def _reserved(deployment: Deployment, key: AccessKey, runtime_api: str, log_stream: str) -> dict[str, str]:
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
        "AWS_SECRET_ACCESS_KEY": key.secret_of(access_key_of(deployment.name)),
        "LAMBDA_RUNTIME_DIR": RUNTIME_ROOT,
        "LAMBDA_TASK_ROOT": TASK_ROOT,
    }


def _endpoint(deployment: Deployment, host: HostVariables) -> dict[str, str]:
    own = {"AWS_ENDPOINT_URL": host.aws_endpoint_url}
    theirs = {k: v for k, v in deployment.variables.items() if k.startswith("AWS_ENDPOINT_URL")}
    # other stages' functions may be tried here as well, and these take no cloud on loopback
    is_local = deployment.variables.get("FISO_STAGE") == LOCAL_STAGE
    return own | theirs | {k: v for k, v in host.extra.items() if is_local or not k.startswith("FISO_")}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """One line of a function's log, and where CloudWatch keeps it."""

    function: str
    group: str
    stream: str
    timestamp_ms: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What environments share: how to isolate, what to tell every function, where log events go."""

    sandbox: Sandbox
    variables: HostVariables
    emit: Callable[[LogEvent], None]
    init_limit_s: float = INIT_LIMIT_S


class ExecutionEnvironment:
    """Starts with its first invocation. `usable` says whether it can take another one."""

    def __init__(self, function: RunnableFunction, surroundings: Surroundings) -> None:
        self.function = function
        self.idle_since = time.monotonic()
        self._surroundings = surroundings
        self._log_stream = log_stream_name(
            function.deployment.version, new_request_id().replace("-", ""), datetime.now(UTC)
        )
        self._runtime: Runtime | None = None
        self._init_ms: float | None = None
        self._tail = LogTail()
        self._closed = False

    @property
    def usable(self) -> bool:
        return self._runtime is not None and self._runtime.alive and not self._closed

    @property
    def pid(self) -> int | None:
        return self._runtime.pid if self._runtime else None

    async def run(self, invocation: Invocation) -> InvocationResult:
        """One invocation, after the cold start where there was none yet. Every failure of the function is a result."""
        began = time.perf_counter()
        outcome = await self._start(invocation.request_id) if self._runtime is None else None
        self._tail = LogTail()
        self._log(log_lines.start(invocation.request_id, self._deployment.version))
        if outcome is None:
            began = time.perf_counter()
            outcome = await self._invoke(invocation)
        return await self._conclude(invocation.request_id, outcome, _elapsed_ms(began))

    async def close(self) -> None:
        """End the process and all it started. Safe to repeat."""
        self._closed = True
        if self._runtime is not None:
            await self._runtime.kill()

    @property
    def _deployment(self) -> Deployment:
        return self.function.deployment

    @property
    def _started_runtime(self) -> Runtime:
        if self._runtime is None:
            raise RuntimeError("the execution environment was not started")
        return self._runtime

    async def _start(self, request_id: str) -> Reply | Fault | None:
        """The cold start; None when it succeeded.

        AWS gives the init phase ten seconds; one that takes longer is repeated in the invocation, under its timeout.
        """
        self._log(log_lines.init_start(self._deployment.runtime))
        try:
            return await self._init(request_id, "init", self._surroundings.init_limit_s)
        except TimeoutError:
            await self._kill_runtime()
        if self._closed:
            return log_lines.timed_out(request_id, self._deployment.timeout_s)
        try:
            return await self._init(request_id, "invoke", self._deployment.timeout_s)
        except TimeoutError:
            return log_lines.timed_out(request_id, self._deployment.timeout_s)

    async def _init(self, request_id: str, phase: str, limit_s: float) -> Reply | Fault | None:
        began = time.perf_counter()
        self._runtime = Runtime(self._log, self._surroundings.sandbox.process_depth)
        try:
            async with asyncio.timeout(limit_s):
                outcome = await self._runtime.start(self._launch)
        except TimeoutError:
            self._log(log_lines.init_report(_elapsed_ms(began), phase=phase, status="timeout"))
            raise
        if outcome is None:
            self._init_ms = _elapsed_ms(began)
            return None
        await self._kill_runtime()
        failure = log_lines.exited(request_id, outcome.status) if isinstance(outcome, Exit) else outcome
        self._log(
            log_lines.init_report(_elapsed_ms(began), phase=phase, status="error", error_type=_error_type(failure))
        )
        return failure

    def _launch(self, runtime_api: str) -> Launch:
        deployment, surroundings = self._deployment, self._surroundings
        variables = function_variables(
            deployment, surroundings.variables, runtime_api=runtime_api, log_stream=self._log_stream
        )
        return surroundings.sandbox.launch(
            self.function.package, deployment.handler, variables, deployment.ephemeral_mb
        )

    async def _invoke(self, invocation: Invocation) -> Reply | Fault:
        timeout_s = self._deployment.timeout_s
        work = Work(
            invocation=invocation,
            function_arn=self._deployment.arn,
            deadline_ms=int((time.time() + timeout_s) * 1000),
        )
        try:
            async with asyncio.timeout(timeout_s):
                outcome = await self._started_runtime.invoke(work)
        except TimeoutError:
            return log_lines.timed_out(invocation.request_id, timeout_s)
        return log_lines.exited(invocation.request_id, outcome.status) if isinstance(outcome, Exit) else outcome

    async def _conclude(self, request_id: str, outcome: Reply | Fault, duration_ms: float) -> InvocationResult:
        runtime = self._started_runtime
        runtime.flush_log()
        fault = outcome if isinstance(outcome, Fault) else None
        if fault is not None:
            self._log(_fault_line(request_id, fault))
        usage = Usage(
            duration_ms=duration_ms,
            memory_mb=self._deployment.memory_mb,
            max_memory_used_mb=runtime.peak_memory_mb(),
            init_ms=self._init_ms,
        )
        self._init_ms = None
        self._log(log_lines.end(request_id))
        self._log(log_lines.report(request_id, usage, fault))
        if fault is not None or not self.usable or (isinstance(outcome, Reply) and outcome.is_too_large):
            await self.close()
        return self._result(request_id, outcome)

    def _result(self, request_id: str, outcome: Reply | Fault) -> InvocationResult:
        is_error = isinstance(outcome, Fault) or outcome.is_error
        return InvocationResult(
            request_id=request_id,
            payload=outcome.document() if isinstance(outcome, Fault) else outcome.payload,
            version=self._deployment.version,
            log_tail=self._tail.content(),
            error=UNHANDLED if is_error else None,
        )

    async def _kill_runtime(self) -> None:
        if self._runtime is not None:
            await self._runtime.kill()

    def _log(self, message: str) -> None:
        self._tail.write(message)
        deployment = self._deployment
        self._surroundings.emit(
            LogEvent(
                function=deployment.name,
                group=deployment.log_group,
                stream=self._log_stream,
                timestamp_ms=time.time_ns() // 1_000_000,
                message=message,
            )
        )


def _fault_line(request_id: str, fault: Fault) -> str:
    if fault.status == "timeout":
        return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + f"Z {request_id} {fault.message}"
    return f"RequestId: {request_id} Error: {fault.message}\n{fault.type}"


def _error_type(failure: Reply | Fault) -> str:
    """What the INIT_REPORT line calls the failure."""
    if isinstance(failure, Fault):
        return failure.type
    try:
        document = json.loads(failure.payload)
    except ValueError:
        return "Runtime.Unknown"
    return str(document.get("errorType", "Runtime.Unknown")) if isinstance(document, dict) else "Runtime.Unknown"


def _elapsed_ms(began: float) -> float:
    return (time.perf_counter() - began) * 1000
