"""Deployment: what `fiso deploy gcp` is asked for, as steps; applied and taken back under the stage's lock."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from fiso.domain.endpoint import Provider
from fiso_cli.clouds import package, plan
from fiso_cli.clouds.command import NONE, Endpoints
from fiso_cli.clouds.google import monitoring, removal, sender, steps, wrapper
from fiso_cli.clouds.google.client import Google
from fiso_cli.clouds.google.lock import BucketLock
from fiso_cli.clouds.google.names import Copy, Names, Source
from fiso_cli.clouds.lock import held
from fiso_cli.clouds.plan import Done, Planned, Say, Step


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One function: its folder, and the function in it that the framework serves."""

    function: str
    folder: Path
    target: str


@dataclass(kw_only=True)
class Deployment:
    """One run. `invoker` is who may call the copies: FISO's own service account unless it is given."""

    google: Google
    names: Names
    functions: Sequence[Asked] = ()
    regions: Sequence[str] = ()
    memories: Sequence[int] = (512,)
    most: int = 100
    invoker: str = ""
    work: Path = field(default_factory=lambda: Path("build", "clouds"))
    now: Callable[[], datetime] = _now
    cloud: str = "Google"

    @property
    def title(self) -> str:
        return f"stage {self.names.stage} on Google, project {self.names.project}"

    @cached_property
    def packages(self) -> Mapping[str, package.Package]:
        """Each function's package, made once; whatever cannot be packaged is refused before anything is made."""
        return {
            asked.function: package.make(
                asked.folder, Provider.GCP, into=self.work, generated=wrapper.generated(asked.folder)
            )
            for asked in self.functions
        }

    @cached_property
    def wanted(self) -> Sequence[Copy]:
        """All copies that are asked for."""
        sources = [
            Source(
                names=self.names,
                function=asked.function,
                target=asked.target,
                version=self.packages[asked.function].sha256,
            )
            for asked in self.functions
        ]
        return [
            Copy(source=source, region=region, memory_mb=memory_mb)
            for source in sources
            for region in self.regions
            for memory_mb in self.memories
        ]

    @cached_property
    def shared(self) -> list[Step]:
        """Before the lock."""
        return steps.shared(self.google, self.names)

    @cached_property
    def steps(self) -> list[Step]:
        """Under the lock."""
        found = steps.stage(self.google, self.names)
        for asked in self.functions:
            copies = [copy for copy in self.wanted if copy.source.function == asked.function]
            packed = package.as_tar(self.packages[asked.function])
            invoker = self.invoker or f"serviceAccount:{self.names.caller}"
            found += steps.function(self.google, copies[0].source, packed, copies, most=self.most, invoker=invoker)
        return found

    def planned(self) -> list[Planned]:
        """How everything is. `CommandError` where something stands in the way that is not ours."""
        found = plan.look_at([*self.shared, *self.steps])
        plan.refuse_foreign(found)
        return found

    def asked(self) -> Endpoints:
        found: dict[str, list[str]] = {}
        for copy in self.wanted:
            found.setdefault(copy.source.function, []).append(copy.endpoint)
        return found

    def copies(self) -> Endpoints:
        return removal.endpoints(self.google, self.names, [asked.function for asked in self.functions])

    def surplus(self, going: Endpoints) -> list[Planned]:
        return [Planned(step=step, found=step.look(), goes=True) for step in self._going(going)]

    def _going(self, going: Endpoints) -> list[Step]:
        pairs = {(function, endpoint) for function, ids in going.items() for endpoint in ids}
        return removal.services(self.google, self.names, [*going], pairs) if pairs else []

    def apply(self, say: Say, going: Endpoints = NONE) -> Done:
        """Make what is missing, then remove what goes. May be run again after it was killed anywhere."""
        first = plan.apply(self.shared, say, sleep=self.google.pause)
        with self.held() as still:
            then = plan.apply(self.steps, say, before=still, sleep=self.google.pause)
            gone = plan.remove(self._going(going), say, before=still)
        return first.and_then(then).and_then(gone)

    @contextmanager
    def held(self) -> Iterator[Callable[[], None]]:
        """Hold the stage's lock meanwhile; what is yielded raises once it is lost."""
        with closing(BucketLock(self.google, self.names.bucket)) as lock, held(lock, now=self.now) as still:
            yield still

    def endpoints(self) -> dict[str, list[dict[str, str | int]]]:
        """The copies of each function as a catalog has them, by the addresses that Google says."""
        services = self.google.api("run").projects().locations().services()
        found: dict[str, list[dict[str, str | int]]] = {}
        for copy in self.wanted:
            service = self.google.call("run", lambda api, name=copy.name: services.get(name=name))  # type: ignore[misc]
            endpoint: dict[str, str | int] = {
                "id": copy.endpoint,
                "provider": "gcp",
                "region": copy.region,
                "memory_mb": copy.memory_mb,
                "address": str(service["uri"]),
                "authentication": "id_token",
                "concurrency_limit": self.most,
            }
            found.setdefault(copy.source.function, []).append(endpoint)
        return found

    def remains(self) -> list[Planned]:
        """What there is to remove: the copies of the functions that are named, or all of the stage."""
        only = [asked.function for asked in self.functions]
        found = removal.services(self.google, self.names, only)
        if not only:
            watching = [
                *monitoring.leftovers(self.google, self.names),
                *sender.leftovers(self.google, self.names),
            ]
            stage = [removal.bucket(self.google, self.names), *removal.stage(self.google, self.names)]
            found = [*stage, *watching, *found]
        return plan.look_at(found)

    def remove(self, say: Say) -> Done:
        """Remove it, what was made last first. May be run again after it was killed anywhere."""
        found = [each.step for each in self.remains()]
        bucket = removal.bucket(self.google, self.names)
        under = [step for step in found if step.name != bucket.name]
        if bucket.look().state is plan.State.ABSENT:  # no lock without it, and nobody who deploys
            return plan.remove(under, say)
        with self.held() as still:
            first = plan.remove(under, say, before=still)
        then = plan.remove([step for step in found if step.name == bucket.name], say)
        return first.and_then(then)
