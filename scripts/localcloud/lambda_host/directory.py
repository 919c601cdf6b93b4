"""The directory of functions: each name's pool, kept in step with the control plane off the invocations' path.

Functions in use are compared with the control plane every second in the background. One that was not looked at for
longer is looked at before it runs, so a redeployment always takes effect within about a second.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from localcloud.lambda_host.control_plane import ControlPlane, ControlPlaneError, UnknownFunctionError
from localcloud.lambda_host.deployment import Deployment, FunctionReference, RunnableFunction
from localcloud.lambda_host.environment import Surroundings
from localcloud.lambda_host.pool import EnvironmentBudget, FunctionPool, PoolStatus

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
