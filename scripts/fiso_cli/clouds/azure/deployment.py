"""Deployment: what `fiso deploy azure` is asked for, as steps; applied and taken back under the stage's lock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from fiso_cli.clouds import plan
from fiso_cli.clouds.azure import publish, removal, steps
from fiso_cli.clouds.azure.arm import Arm
from fiso_cli.clouds.azure.lease import ContainerLease
from fiso_cli.clouds.azure.names import Copy, Group
from fiso_cli.clouds.catalog_file import Made
from fiso_cli.clouds.command import NONE, Endpoints
from fiso_cli.clouds.lock import held
from fiso_cli.clouds.plan import Done, Planned, Say, Step
from fiso_cli.rendering import remark


@dataclass(kw_only=True)
class Deployment:
    """One run. To remove, the names of functions are enough; none means all."""

    arm: Arm
    group: Group
    names: Sequence[str] = ()
    wanted: Sequence[Copy] = ()
    common: steps.Wanted | None = None
    packages: Mapping[str, bytes] = field(default_factory=dict)
    cloud: str = "Azure"

    @property
    def title(self) -> str:
        return f"stage {self.group.stage} on Azure, subscription {self.group.subscription}"

    @cached_property
    def shared(self) -> list[Step]:
        """Before the lock."""
        return steps.shared(self.arm, self.group, self.wanted[0].region)

    @cached_property
    def steps(self) -> list[Step]:
        """Under the lock."""
        if self.common is None:
            return []
        found = [steps.copy(self.arm, of, self.common, self.packages[of.function]) for of in self.wanted]
        return [step for several in found for step in several]

    def planned(self) -> list[Planned]:
        found = plan.look_at([*self.shared, *self.steps])
        plan.refuse_foreign(found)
        return found

    def asked(self) -> Endpoints:
        found: dict[str, list[str]] = {}
        for of in self.wanted:
            found.setdefault(of.function, []).append(of.deployment)
        return found

    def copies(self) -> Endpoints:
        return removal.copies(self.arm, self.group, self.names)

    def surplus(self, going: Endpoints) -> list[Planned]:
        return [Planned(step=step, found=step.look(), goes=True) for step in self._going(going)]

    def _going(self, going: Endpoints) -> list[Step]:
        tags = {f"{function}.{endpoint}" for function, ids in going.items() for endpoint in ids}
        return removal.leftovers(self.arm, self.group, (), tags) if tags else []

    def apply(self, say: Say, going: Endpoints = NONE) -> Done:
        """Make what is missing, then remove what goes. May be run again after it was killed anywhere."""
        done = plan.apply(self.shared, say)
        with held(ContainerLease(arm=self.arm, group=self.group)) as still:
            done = done.and_then(plan.apply(self.steps, say, before=still))
            return done.and_then(plan.remove(self._going(going), say, before=still))

    def endpoints(self) -> dict[str, list[Made]]:
        found: dict[str, list[Made]] = {}
        for of in self.wanted:
            found.setdefault(of.function, []).append(self._endpoint(of))
        return found

    def _endpoint(self, of: Copy) -> Made:
        app = self.arm.call("GET", of.app_id, steps.WEB)
        found = publish.functions(self.arm, of)
        route = next((str(each["route"]) for each in found if each["name"] == of.function.replace("-", "_")), None)
        route = (route or str(found[0]["route"])).replace("{name}", of.function)
        if any(each["level"] == "function" for each in found):
            remark(f"{of.app}: wants a function key, too; AuthLevel.ANONYMOUS leaves it to App Service Authentication")
        host = publish.host(app)
        scheme = "http" if host.startswith("127.0.0.1:") else "https"
        made: dict[str, str | int] = {
            "id": of.deployment,
            "provider": "azure",
            "region": of.region,
            "memory_mb": of.memory_mb,
            "address": f"{scheme}://{host}/api/{route}",
        }
        is_for_tokens = self.common is not None and self.common.application_id
        return made | ({"authentication": "entra"} if is_for_tokens else {})

    def foretold(self, planned: Sequence[Planned]) -> list[dict[str, object]]:
        """Azure's own what-if of each copy that is not as wanted; without a resource group there is nothing to
        compare."""
        if self.common is None or self.arm.find(self.group.id, steps.GROUPS) is None:
            return []
        does = {each.step.name: each.does for each in planned}
        found: list[dict[str, object]] = []
        for of in self.wanted:
            if does[f"app {of.function} {of.deployment}"] == "keep":
                continue
            given = steps.parameters(of, self.common)
            for change in steps.what_if(self.arm, self.group, f"fiso-{of.app}", "copy", given):
                name = "/".join(str(change["resourceId"]).split("/")[-2:])
                paths = [str(each.get("path")) for each in change.get("delta") or ()]
                found.append({"does": change["changeType"], "resource": name, "properties": paths})
        return found

    def remains(self) -> list[Planned]:
        return plan.look_at(removal.leftovers(self.arm, self.group, self.names))

    def remove(self, say: Say) -> Done:
        """Under the lock while its storage is there; that goes last, and with it the lock."""
        removal.end_deployments(self.arm, self.group)
        found = removal.leftovers(self.arm, self.group, self.names)
        if self.arm.find(self.group.lock_container, steps.STORAGE) is None:
            return plan.remove(found, say)
        last = {f"group {self.group.name}", f"storageaccounts {self.group.lock_account}"}
        with held(ContainerLease(arm=self.arm, group=self.group)) as still:
            done = plan.remove([each for each in found if each.name not in last], say, before=still)
        return done.and_then(plan.remove([each for each in found if each.name in last], say))
