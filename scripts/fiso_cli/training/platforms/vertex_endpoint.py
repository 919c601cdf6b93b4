"""`fiso-prediction-endpoint` on Vertex AI: one of a stage's models behind an endpoint, for batches and what-if.

Steps for `clouds.plan`: the model's files in a bucket, the model with the trainer's image as its container, the
endpoint, the deployment.
Not tried against Google itself: held against the discovery document, and run on a local server.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from fiso.learning.job import MANIFEST, MODEL
from fiso.ports import ModelFiles
from fiso_cli.clouds.google.client import Document, Google, Refused
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step, different, not_ours
from fiso_cli.errors import CommandError
from fiso_cli.training.platforms.vertex import REGION

ENDPOINT = "fiso-prediction-endpoint"
MACHINE, LEAST, MOST = "n1-standard-2", 1, 3
"""The brief's, with its replicas."""
PORT, HEALTH, PREDICT = 8080, "/ping", "/invocations"


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexEndpoint:
    """One stage's endpoint in a project's region."""

    google: Google
    stage: str
    bucket: str
    image: str
    machine: str = MACHINE
    most: int = MOST
    region: str = REGION

    @property
    def endpoint(self) -> str:
        return f"{self._parent}/endpoints/{self.name}"

    @property
    def name(self) -> str:
        return f"{ENDPOINT}-{self.stage}"

    def close(self) -> None:
        self.google.close()

    def model(self, files: ModelFiles) -> str:
        """Its name follows from file and image: neither ever changes under it."""
        digest = sha256(f"{self.image}\0{files.pointer.sha256}".encode()).hexdigest()
        return f"{self._parent}/models/fiso-{self.stage}-{digest[:16]}"

    def steps(self, files: ModelFiles) -> list[Step]:
        version, name = files.pointer.version, self.model(files)
        return [
            Step(
                name=f"files of {version}",
                makes=f"gs://{self.bucket}/serving/{version}/",
                look=lambda: self._look_at_files(files),
                make=lambda say: self._put(files),
                undo=lambda say: self._drop_files(version),
            ),
            Step(
                name=f"model {version}",
                makes="a model of Vertex AI with the trainer's image",
                look=lambda: self._look(self._found("models", name)),
                make=lambda say: self._upload(name, version, say),
                undo=lambda say: self._remove("models", name, say),
                is_slow=True,
            ),
            Step(
                name=self.name,
                makes="an endpoint",
                look=lambda: self._look(self._found("endpoints", self.endpoint)),
                make=self._create,
                undo=lambda say: self._remove("endpoints", self.endpoint, say),
                is_slow=True,
            ),
            Step(
                name="deployment",
                makes=f"{LEAST} to {self.most} {self.machine}, paid by the hour",
                look=lambda: self._look_at_deployment(name),
                make=lambda say: self._deploy(name, say),
                undo=lambda say: self._undeploy("", say),
                is_slow=True,
            ),
        ]

    def predict(self, instances: Sequence[Any]) -> Document:
        """What the deployed model says of rows."""
        found = self._call(
            lambda api: (
                api.projects().locations().endpoints().predict(endpoint=self.endpoint, body={"instances": [*instances]})
            )
        )
        return found

    @property
    def _api(self) -> str:
        return f"{self.region}-aiplatform"

    @property
    def _parent(self) -> str:
        return f"projects/{self.google.project}/locations/{self.region}"

    @property
    def _labels(self) -> Mapping[str, str]:
        return {"service": "fiso", "fiso-stage": self.stage}

    def _call(self, method: Callable[[Any], Any]) -> Document:
        return self.google.call(self._api, method)

    def _found(self, kind: str, name: str) -> Document | None:
        return self.google.find(self._api, lambda api: getattr(api.projects().locations(), kind)().get(name=name))

    def _look(self, found: Document | None) -> Look:
        if found is None:
            return ABSENT
        if found.get("labels", {}).get("fiso-stage") != self.stage:
            return not_ours("it has no label of this stage's")
        return AS_WANTED

    def _look_at_files(self, files: ModelFiles) -> Look:
        wanted = _files(files)
        found = {name: self.google.download(self.bucket, self._key(files.pointer.version, name)) for name in wanted}
        if found == wanted:
            return AS_WANTED
        return ABSENT if not any(found.values()) else different("half of them are there")

    def _put(self, files: ModelFiles) -> None:
        for name, content in _files(files).items():
            try:
                self.google.upload(self.bucket, self._key(files.pointer.version, name), content)
            except Refused as refused:
                if refused.code != 412:  # it stands there already
                    raise

    def _drop_files(self, version: str) -> None:
        for name in (MODEL, MANIFEST):
            self._drop(self._key(version, name))

    def _drop(self, key: str) -> None:
        self.google.find("storage", lambda api: api.objects().delete(bucket=self.bucket, object=key))

    def _key(self, version: str, name: str) -> str:
        return f"serving/{version}/{name}"

    def _upload(self, name: str, version: str, say: Say) -> None:
        body = {
            "modelId": name.rpartition("/")[2],
            "model": {
                "displayName": f"fiso {version}",
                "labels": self._labels,
                "artifactUri": f"gs://{self.bucket}/serving/{version}",
                "containerSpec": {
                    "imageUri": self.image,
                    "args": ["serve"],
                    "ports": [{"containerPort": PORT}],
                    "healthRoute": HEALTH,
                    "predictRoute": PREDICT,
                },
            },
        }
        begun = self._call(lambda api: api.projects().locations().models().upload(parent=self._parent, body=body))
        self.google.wait(self._api, begun, say, f"model {version}")

    def _create(self, say: Say) -> None:
        body = {"displayName": ENDPOINT, "labels": self._labels}
        begun = self._call(
            lambda api: (
                api.projects()
                .locations()
                .endpoints()
                .create(parent=self._parent, endpointId=self.endpoint.rpartition("/")[2], body=body)
            )
        )
        self.google.wait(self._api, begun, say, ENDPOINT)

    def _remove(self, kind: str, name: str, say: Say) -> None:
        begun = self.google.find(self._api, lambda api: getattr(api.projects().locations(), kind)().delete(name=name))
        if begun is not None:
            self.google.wait(self._api, begun, say, name.rpartition("/")[2])

    def _deployed(self) -> list[Document]:
        """Those without traffic first, since of several the one that has it cannot be taken away; each told its
        share. By the list itself: one without traffic is in no split (googleapis/python-aiplatform#1441)."""
        found = self._found("endpoints", self.endpoint) or {}
        split = found.get("trafficSplit", {})
        deployed = [{**each, "share": split.get(each["id"], 0)} for each in found.get("deployedModels", [])]
        return sorted(deployed, key=lambda each: int(each["share"]))

    def _look_at_deployment(self, model: str) -> Look:
        deployed = self._deployed()
        if not deployed:
            return ABSENT
        wanted = self._resources()
        if len(deployed) == 1 and _is(deployed[0], model) and deployed[0].get("dedicatedResources") == wanted:
            return AS_WANTED
        names = ", ".join(sorted(each["model"].rpartition("/")[2] for each in deployed))
        return different(f"{names} on {deployed[0].get('dedicatedResources', {})}"[:120])

    def _resources(self) -> Document:
        return {
            "machineSpec": {"machineType": self.machine},
            "minReplicaCount": LEAST,
            "maxReplicaCount": self.most,
        }

    def _deploy(self, model: str, say: Say) -> None:
        """All traffic to this model, then those before it are taken away: no question meets none."""
        before = self._deployed()
        standing = next((each for each in before if _is(each, model) and each["share"] == 100), None)
        if standing is None or standing.get("dedicatedResources") != self._resources():
            body = {
                "deployedModel": {"model": model, "displayName": ENDPOINT, "dedicatedResources": self._resources()},
                "trafficSplit": {"0": 100},
            }
            begun = self._call(
                lambda api: api.projects().locations().endpoints().deployModel(endpoint=self.endpoint, body=body)
            )
            self.google.wait(self._api, begun, say, "deployment")
            standing = None
        kept = standing["id"] if standing is not None else ""
        for each in before:
            if each["id"] != kept:
                self._undeploy(each["id"], say)

    def _undeploy(self, which: str, say: Say) -> None:
        """One deployed model; all without a name."""
        for number in [which] if which else [each["id"] for each in self._deployed()]:
            self._undeploy_one({"deployedModelId": number}, say)

    def _undeploy_one(self, body: Document, say: Say) -> None:
        begun = self._call(
            lambda api: api.projects().locations().endpoints().undeployModel(endpoint=self.endpoint, body=body)
        )
        self.google.wait(self._api, begun, say, "a deployment before")


def _is(deployed: Document, model: str) -> bool:
    """Google tells a project by its number where it was asked by its id."""
    return str(deployed["model"]).rpartition("/")[2] == model.rpartition("/")[2]


def _files(files: ModelFiles) -> Mapping[str, bytes]:
    if files.pointer.manifest is None:
        raise CommandError(f"model {files.pointer.version} has no manifest, as of a release of before: train one")
    return {MODEL: files.artifact, MANIFEST: files.pointer.manifest.text.encode()}
