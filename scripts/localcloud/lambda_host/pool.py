"""The warm environments of one function, and the limit on all environments together.

Lambda's rules: the most recently used environment serves next, a concurrency limit throttles and never queues, and a
redeployed function gets new environments while busy old ones finish.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from localcloud.lambda_host.deployment import RunnableFunction
from localcloud.lambda_host.environment import ExecutionEnvironment, Surroundings
from localcloud.lambda_host.invocation import (
    ACCOUNT_LIMIT,
    FUNCTION_LIMIT,
    Invocation,
    InvocationResult,
    ThrottledError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatus:
    """A function's environments now, and what it did since the host started."""

    function: str
    version: str
    code_sha256: str
    warm: int
    busy: int
    cold_starts: int
    invocations: int
    errors: int
    throttles: int


class EnvironmentBudget:
    """How many environments may exist on this machine at once. `make_room` ends an idle one somewhere, if any."""

    def __init__(self, limit: int, make_room: Callable[[], bool]) -> None:
        self.limit = limit
        self.used = 0
        self._make_room = make_room

    def acquire(self) -> bool:
        if self.used >= self.limit and not self._make_room():
            return False
        self.used += 1
        return True

    def release(self) -> None:
        self.used -= 1


class FunctionPool:
    """Runs invocations of one function (one version)."""

    def __init__(self, function: RunnableFunction, surroundings: Surroundings, budget: EnvironmentBudget) -> None:
        self.function = function
        self._surroundings = surroundings
        self._budget = budget
        self._idle: list[ExecutionEnvironment] = []
        self._busy: set[ExecutionEnvironment] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._cold_starts = self._invocations = self._errors = self._throttles = 0

    async def invoke(self, invocation: Invocation) -> InvocationResult:
        """Raises ThrottledError where Lambda would answer 429."""
        environment = self._take()
        self._invocations += 1
        try:
            result = await environment.run(invocation)
        except BaseException:
            self._busy.discard(environment)
            self._retire(environment)
            raise
        self._give_back(environment)
        self._errors += result.error is not None
        return result

    def deploy(self, function: RunnableFunction) -> None:
        """Take over a newer deployment. Idle environments of the old one end now, busy ones after their invocation."""
        is_same = function.deployment.revision == self.function.deployment.revision
        self.function = function
        if not is_same:
            self._retire_idle(len(self._idle))

    def reap(self, idle_limit_s: float) -> None:
        """End environments that died or were not needed for a while. The longest idle ones stand first."""
        now = time.monotonic()
        expired = [e for e in self._idle if not e.usable or now - e.idle_since > idle_limit_s]
        self._idle = [e for e in self._idle if e not in expired]
        for environment in expired:
            self._retire(environment)

    def retire_longest_idle(self) -> bool:
        """Make room for another function."""
        return self._retire_idle(1)

    async def close(self) -> None:
        """End every environment, busy ones included, and wait until they are gone."""
        environments = [*self._idle, *self._busy]
        self._idle = []
        await asyncio.gather(*(e.close() for e in environments), *self._closing)

    def status(self) -> PoolStatus:
        deployment = self.function.deployment
        return PoolStatus(
            function=deployment.name,
            version=deployment.version,
            code_sha256=deployment.code_sha256,
            warm=len(self._idle),
            busy=len(self._busy),
            cold_starts=self._cold_starts,
            invocations=self._invocations,
            errors=self._errors,
            throttles=self._throttles,
        )

    @property
    def longest_idle_since(self) -> float | None:
        return self._idle[0].idle_since if self._idle else None

    def _take(self) -> ExecutionEnvironment:
        reserved = self.function.deployment.reserved_concurrency
        if reserved is not None and len(self._busy) >= reserved:
            self._throttles += 1
            raise ThrottledError(FUNCTION_LIMIT)
        environment = self._take_warm() or self._create()
        self._busy.add(environment)
        return environment

    def _take_warm(self) -> ExecutionEnvironment | None:
        while self._idle:
            environment = self._idle.pop()
            if environment.usable:
                return environment
            self._retire(environment)
        return None

    def _create(self) -> ExecutionEnvironment:
        if not self._budget.acquire():
            self._throttles += 1
            raise ThrottledError(ACCOUNT_LIMIT)
        self._cold_starts += 1
        return ExecutionEnvironment(self.function, self._surroundings)

    def _give_back(self, environment: ExecutionEnvironment) -> None:
        self._busy.discard(environment)
        is_current = environment.function.deployment.revision == self.function.deployment.revision
        if is_current and environment.usable:
            environment.idle_since = time.monotonic()
            self._idle.append(environment)
        else:
            self._retire(environment)

    def _retire_idle(self, count: int) -> bool:
        retired, self._idle = self._idle[:count], self._idle[count:]
        for environment in retired:
            self._retire(environment)
        return bool(retired)

    def _retire(self, environment: ExecutionEnvironment) -> None:
        self._budget.release()
        task = asyncio.create_task(environment.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
