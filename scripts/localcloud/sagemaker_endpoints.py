"""SageMaker's models, configurations and endpoints on loopback. An endpoint is one state further with each look; what
serves is tried apart, under SageMaker's contract for a container (tests/functional/test_prediction_endpoints.py)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WHEN = 1_796_000_000
KINDS = {"Model": "ModelName", "EndpointConfig": "EndpointConfigName", "Endpoint": "EndpointName"}


class Unlike(Exception):
    """What the service answers as a ValidationException."""


@dataclass(slots=True)
class Endpoints:
    """Things by kind and name. `failing`: how many endpoints more fail to come up."""

    things: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    failing: int = 0

    def answered(self, operation: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        if operation == "ListTags":
            found = next((each for each in self.things.values() if each["arn"] == asked["ResourceArn"]), {})
            return {"Tags": found.get("Tags", [])}
        verb, kind = next((verb, operation.removeprefix(verb)) for verb in _VERBS if operation.startswith(verb))
        return _VERBS[verb](self, kind, asked)

    def create(self, kind: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        name = str(asked[KINDS[kind]])
        if (kind, name) in self.things:
            raise Unlike(f"Cannot create already existing {kind.lower()} {name}.")
        self._check_parts(kind, asked)
        arn = f"arn:aws:sagemaker:us-east-1:000000000000:{kind.lower()}/{name.lower()}"
        self.things[kind, name] = {**asked, "arn": arn, "status": "Creating"}
        return {f"{kind}Arn": arn}

    def update(self, kind: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        thing = self._thing(kind, asked)
        if thing["status"] != "InService":
            raise Unlike(f"Cannot update in-progress endpoint {thing['arn']}.")
        self._check_parts(kind, asked)
        thing.update(EndpointConfigName=asked["EndpointConfigName"], status="Updating")
        return {"EndpointArn": thing["arn"]}

    def delete(self, kind: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._thing(kind, asked)
        del self.things[kind, asked[KINDS[kind]]]
        return {}

    def describe(self, kind: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        thing = self._thing(kind, asked)
        shown: dict[str, Any] = {f"{kind}Arn": thing["arn"], "CreationTime": WHEN}
        shown |= {name: thing[name] for name in thing if name in (KINDS[kind], "EndpointConfigName")}
        if kind == "Model":
            return shown | {"ExecutionRoleArn": thing["ExecutionRoleArn"]}
        if kind == "EndpointConfig":
            return shown | {"ProductionVariants": thing["ProductionVariants"]}
        state = thing["status"]
        if state in ("Creating", "Updating"):
            thing["status"] = "Failed" if self.failing else "InService"
            self.failing = max(0, self.failing - 1)
        reason = {"FailureReason": "The container did not pass the ping health check."} if state == "Failed" else {}
        return shown | {"EndpointStatus": state, "LastModifiedTime": WHEN} | reason

    def _check_parts(self, kind: str, asked: Mapping[str, Any]) -> None:
        """Of what there must be before it."""
        wanted = [("Model", each["ModelName"]) for each in asked.get("ProductionVariants", [])]
        wanted += [("EndpointConfig", asked["EndpointConfigName"])] if kind == "Endpoint" else []
        for part in wanted:
            if part not in self.things:
                raise Unlike(f'Could not find {part[0].lower()} "{part[1]}".')

    def _thing(self, kind: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        found = self.things.get((kind, asked[KINDS[kind]]))
        if found is None:
            raise Unlike(f'Could not find {kind.lower()} "{asked[KINDS[kind]]}".')
        return found


_VERBS = {
    "Create": Endpoints.create,
    "Update": Endpoints.update,
    "Delete": Endpoints.delete,
    "Describe": Endpoints.describe,
}
