"""Pools: the warm environments of each function, and the directory that keeps them in step with the control plane.

Lambda's rules: the most recently used environment serves next, a concurrency limit throttles and never queues, and a
redeployed function gets new environments while busy old ones finish. Functions in use are compared with the control
plane every second in the background; one that was not looked at for longer is looked at before it runs."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from localcloud.lambda_host.control_plane import ControlPlane, ControlPlaneError, UnknownFunctionError
from localcloud.lambda_host.environment import ExecutionEnvironment, Surroundings
from localcloud.lambda_host.function import (
    ACCOUNT_LIMIT,
    FUNCTION_LIMIT,
    Deployment,
    FunctionReference,
    Invocation,
    InvocationResult,
    RunnableFunction,
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


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """How often deployments are compared, and for how long after its last invocation a function is worth it."""

    every_s: float = 1.0
    stale_after_s: float = 2.0
    used_within_s: float = 60.0


@dataclass(slots=True)
class _Entry:
    pool: FunctionPool
    checked_at: float
    used_at: float


class FunctionDirectory:
    """Finds the pool of a function by its reference."""

    def __init__(
        self, control_plane: ControlPlane, surroundings: Surroundings, *, max_environments: int, refresh: Refresh
    ) -> None:
        self._control_plane = control_plane
        self._surroundings = surroundings
        self._budget = EnvironmentBudget(max_environments, self._make_room)
        self._refresh = refresh
        self._entries: dict[FunctionReference, _Entry] = {}
        self._locks: dict[FunctionReference, asyncio.Lock] = {}
        self._closed = False

    async def pool(self, reference: FunctionReference) -> FunctionPool:
        """Raises UnknownFunctionError, or ControlPlaneError for a function never seen before or once closed."""
        if self._closed:
            raise ControlPlaneError("the Lambda host is stopping")
        now = time.monotonic()
        entry = self._entries.get(reference)
        if entry is None or now - entry.checked_at > self._refresh.stale_after_s:
            entry = await self._check(reference)
        entry.used_at = now
        return entry.pool

    async def keep_fresh(self) -> None:
        """Compare the functions in use with the control plane, for ever."""
        while True:
            await asyncio.sleep(self._refresh.every_s)
            used_since = time.monotonic() - self._refresh.used_within_s
            in_use = [reference for reference, entry in self._entries.items() if entry.used_at > used_since]
            for reference in in_use:
                try:
                    await self._check(reference, max_age_s=self._refresh.every_s / 2)
                except UnknownFunctionError:
                    log.info("%s was removed", reference.name)

    async def reap(self, idle_limit_s: float) -> None:
        """End idle environments, for ever."""
        while True:
            await asyncio.sleep(min(1.0, idle_limit_s / 2))
            for entry in self._entries.values():
                entry.pool.reap(idle_limit_s)

    async def close(self) -> None:
        """End every environment. Nothing starts after this."""
        self._closed = True
        await asyncio.gather(*(entry.pool.close() for entry in self._entries.values()))

    @property
    def environments(self) -> int:
        return self._budget.used

    @property
    def environment_limit(self) -> int:
        return self._budget.limit

    def status(self) -> Iterable[PoolStatus]:
        return [entry.pool.status() for entry in self._entries.values()]

    async def _check(self, reference: FunctionReference, max_age_s: float | None = None) -> _Entry:
        """Compare one function, once however many ask at the same time."""
        limit_s = self._refresh.stale_after_s if max_age_s is None else max_age_s
        async with self._locks.setdefault(reference, asyncio.Lock()):
            entry = self._entries.get(reference)
            if entry is not None and time.monotonic() - entry.checked_at <= limit_s:
                return entry
            try:
                return await self._compare(reference, entry)
            except UnknownFunctionError:
                await self._forget(reference)
                raise
            except ControlPlaneError as error:
                if entry is None:
                    raise
                log.warning("%s keeps its last known deployment: %s", reference.name, error)
                entry.checked_at = time.monotonic()
                return entry

    async def _compare(self, reference: FunctionReference, entry: _Entry | None) -> _Entry:
        checked_at = time.monotonic()
        deployment = await self._control_plane.deployment(reference)
        if entry is not None and entry.pool.function.deployment.revision == deployment.revision:
            package = entry.pool.function.package
        else:
            package = await self._control_plane.package(deployment)
        function = RunnableFunction(deployment=deployment, package=package)
        if entry is None:
            self._warn_of_other_runtime(deployment)
            entry = _Entry(FunctionPool(function, self._surroundings, self._budget), checked_at, checked_at)
            self._entries[reference] = entry
        entry.pool.deploy(function)
        entry.checked_at = checked_at
        return entry

    async def _forget(self, reference: FunctionReference) -> None:
        entry = self._entries.pop(reference, None)
        if entry is not None:
            await entry.pool.close()

    def _warn_of_other_runtime(self, deployment: Deployment) -> None:
        ours = f"python{self._surroundings.sandbox.interpreter.version}"
        if deployment.runtime != ours:
            log.warning("%s wants %s, this host runs it with %s", deployment.name, deployment.runtime, ours)

    def _make_room(self) -> bool:
        """End the environment, of whatever function, that has been idle longest."""
        idle = [(entry.pool.longest_idle_since, entry.pool) for entry in self._entries.values()]
        oldest = min((since for since, _ in idle if since is not None), default=None)
        return any(since == oldest and pool.retire_longest_idle() for since, pool in idle if since is not None)
