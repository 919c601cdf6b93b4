"""Deployment: what `fiso deploy aws-function` is asked for, as steps; applied and taken back under the stage's lock."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from fiso_cli.clouds import plan
from fiso_cli.clouds.aws import removal, steps
from fiso_cli.clouds.aws.client import Aws
from fiso_cli.clouds.aws.names import Copy, Place
from fiso_cli.clouds.catalog_file import Made
from fiso_cli.clouds.command import NONE, Endpoints
from fiso_cli.clouds.lock import held
from fiso_cli.clouds.plan import Done, Planned, Say, Step
from fiso_cli.clouds.trust.lock import TableLock

LOCK = "aws-functions"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(kw_only=True)
class Deployment:
    """One run. `functions` say for each what its copies have in common; to remove their names are enough."""

    aws: Aws
    place: Place
    table: str
    functions: Mapping[str, steps.Wanted | None] = field(default_factory=dict)
    regions: Sequence[str] = ()
    memories: Sequence[int] = (512,)
    now: Callable[[], datetime] = _now
    cloud: str = "AWS"

    @property
    def title(self) -> str:
        return f"stage {self.place.stage} on AWS, account {self.place.account}"

    def _copies_of(self, function: str) -> list[Copy]:
        return [
            Copy(place=self.place, function=function, region=region, memory_mb=memory_mb)
            for region in self.regions
            for memory_mb in self.memories
        ]

    @cached_property
    def steps(self) -> list[Step]:
        """All of them, under the lock."""
        found: list[Step] = []
        for function, wanted in self.functions.items():
            if wanted is not None:
                found.append(steps.role(self.aws, self.place, function))
                for of in self._copies_of(function):
                    found += steps.copy(self.aws, of, wanted)
        return found

    def planned(self) -> list[Planned]:
        """How everything is. `CommandError` where something stands in the way that is not ours."""
        found = plan.look_at(self.steps)
        plan.refuse_foreign(found)
        return found

    def asked(self) -> Endpoints:
        return {function: [of.endpoint for of in self._copies_of(function)] for function in self.functions}

    def copies(self) -> Endpoints:
        return removal.copies(self.aws, self.place, self.functions)

    def surplus(self, going: Endpoints) -> list[Planned]:
        return [Planned(step=step, found=step.look(), goes=True) for step in self._going(going)]

    def apply(self, say: Say, going: Endpoints = NONE) -> Done:
        with self.held() as still:
            done = plan.apply(self.steps, say, before=still, sleep=self.aws.sleep)
            return done.and_then(plan.remove(self._going(going), say, before=still))

    def endpoints(self) -> dict[str, list[Made]]:
        found: dict[str, list[Made]] = {}
        for function, wanted in self.functions.items():
            for of in self._copies_of(function):
                where = {"region": of.region, "FunctionName": of.name}
                configuration = self.aws.call("lambda", "get_function_configuration", **where)
                made: dict[str, str | int] = {
                    "id": of.endpoint,
                    "provider": "aws",
                    "region": of.region,
                    "memory_mb": of.memory_mb,
                    "address": str(configuration["FunctionArn"]),
                }
                if wanted is not None and wanted.architecture == "arm64":
                    made["architecture"] = "arm64"
                found.setdefault(function, []).append(made)
        return found

    def remains(self) -> list[Planned]:
        return plan.look_at(removal.leftovers(self.aws, self.place, self.functions))

    def remove(self, say: Say) -> Done:
        found = [each.step for each in self.remains()]
        if self.aws.find("dynamodb", "describe_table", TableName=self.table) is None:
            return plan.remove(found, say)  # a stage that is gone has no lock, and nobody who deploys
        with self.held() as still:
            return plan.remove(found, say, before=still)

    @contextmanager
    def held(self) -> Iterator[Callable[[], None]]:
        """Hold the stage's lock meanwhile; what is yielded raises once it is lost."""
        with held(TableLock(self.aws.client("dynamodb"), self.table, LOCK), now=self.now) as still:
            yield still

    def _going(self, going: Endpoints) -> list[Step]:
        pairs = {(function, endpoint) for function, ids in going.items() for endpoint in ids}
        return removal.leftovers(self.aws, self.place, [*going], pairs) if pairs else []
