"""Two regions of one stage on this machine: two whole local clouds on ports of their own, each the other one's region
us-west-2. The second is a warm standby: it publishes the first one's policies and follows its models.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fiso.adapters.aws.archive import S3Archive
from fiso.adapters.aws.models import LayerModelStore, S3ModelStore
from fiso.codecs import signature
from fiso.ports import ModelFiles
from fiso.prediction import manifest
from fiso_cli import keeper_database
from fiso_cli.errors import CommandError
from fiso_cli.local_stage import MODELS
from fiso_cli.training import keys
from localcloud import ports
from localcloud.cloud import Record
from localcloud.demo.machine import STAGE, Machine
from localcloud.layout import LocalCloud
from localcloud.parts import Options

OTHER_REGION = "us-west-2"
NO_RETRAINING = {"FISO_MINIMUM_ROWS": "1000000"}
"""Else the first region would promote another model on the drill's own traffic."""
DAY = timedelta(days=1)
KILLED = ("lambda-host", "stream-pump", "provider-proxy", "azure-host", "google-host")
"""What ends in the middle of its work. The stores write down what they hold, as AWS's do not lose it either."""


@dataclass(kw_only=True)
class Regions:
    """Both, up and deployed; the first one can be lost and come back."""

    first: Machine
    second: Machine

    def lose_first(self) -> None:
        """Kill its parent, so that nothing is started again, and what runs functions; the kernel stops the rest."""
        lease = self.first.lease
        if lease is None:
            raise CommandError("the first region does not run")
        running = Record.read(self.first.cloud.state).running
        lease.process.kill()
        for name in KILLED:
            with suppress(ProcessLookupError):
                os.kill(running[name].pid, signal.SIGKILL)
        lease.process.wait()

    def bring_first_back(self) -> None:
        """With its tables as they were: its keys, its addresses, its log."""
        self.first.options = replace(self.first.options, access_key=self.second.cloud.access_key_file)
        self.first.boot()

    def copied(self) -> set[str]:
        """The first region's records that stand in the second one's archive."""
        client, bucket = self.second.stage.client("s3"), self.second.stage.bucket
        archive = S3Archive(client, bucket, clock=lambda: datetime.now(UTC) + 2 * DAY)
        return {str(record.invocation_id) for record in archive.since((datetime.now(UTC) - DAY).date())}

    def have_same(self, key: str) -> bool:
        """Whether an object stands in both buckets and is the same."""
        bodies = list[bytes]()
        for machine in (self.first, self.second):
            with machine.stage.wrapped_errors():
                bodies.append(
                    machine.stage.client("s3").get_object(Bucket=machine.stage.bucket, Key=key)["Body"].read()
                )
        return bodies[0] == bodies[1]

    def have_same_model(self) -> bool:
        """Whether both name the same signed champion, and hold the same file of it."""
        stores = [S3ModelStore(each.stage.client("s3"), each.stage.bucket) for each in (self.first, self.second)]
        one, other = (store.champion() for store in stores)
        if one is None or other is None or one.manifest != other.manifest:
            return False
        return self.have_same(f"models/{one.version}/model.joblib")


@contextmanager
def running(folder: Path, catalog: str) -> Iterator[Regions]:
    """Two regions with this catalog and the packaged model, until the context ends."""
    first_port = ports.free_base(LocalCloud.from_environ().base_port)
    second_port = ports.free_base(first_port)
    first = _machine(folder / "one", first_port, Options(has_distance=False, peer=_peer(second_port)))
    second = _machine(folder / "two", second_port, Options(has_distance=False, peer=_peer(first_port)))
    second.options = replace(second.options, access_key=first.cloud.access_key_file)
    try:
        first.boot()
        second.boot()
        _deploy(first, second)
        declared = folder / "fiso.yaml"
        declared.write_text(catalog, encoding="utf-8")
        first.apply(declared)
        second.stage.publish()
        _promote_packaged(first)
        second.stage.invoke("retrainer", {"trigger": "command"}, within_s=60)
        yield Regions(first=first, second=second)
    finally:
        for machine in (first, second):
            machine.shut_down()


def _machine(folder: Path, port: int, options: Options) -> Machine:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FISO_"))}
    return Machine.from_environ(own | {"FISO_LOCAL_DIR": str(folder), "FISO_LOCAL_PORT": str(port)}, options)


def _peer(port: int) -> str:
    return f"{OTHER_REGION}=http://127.0.0.1:{port}"


def _deploy(first: Machine, second: Machine) -> None:
    """The second one's keeper reads the first one's policies, as it would a replica."""
    trusted = [keys.ensured(keys.local_file(each.cloud, "models")).public.modulus for each in (first, second)]
    there = {"FISO_COPIES_TO": f"{OTHER_REGION}/{first.stage.bucket}", **NO_RETRAINING}
    there["FISO_MODEL_KEYS"] = " ".join(map(signature.text_of, trusted))
    first.deploy(**there)
    there["FISO_MODELS_FROM"] = there["FISO_COPIES_TO"]
    second.deploy(**there, FISO_KEEPER_DATABASE_URL=keeper_database.ensured(first.stage))


def _promote_packaged(machine: Machine) -> None:
    packaged, signer = LayerModelStore(MODELS), keys.ensured(keys.local_file(machine.cloud, "models"))
    pointer = packaged.champion()
    if pointer is None or pointer.manifest is None:
        raise CommandError("there is no packaged model to promote: run `fiso train`")
    sealed = signature.signed(manifest.restated(pointer.manifest, stage=STAGE, number=1).text, signer.sign)
    files = ModelFiles(
        pointer=replace(pointer, manifest=sealed, previous=None, origin="store"),
        artifact=packaged.artifact(pointer),
        card={},
    )
    S3ModelStore(machine.stage.client("s3"), machine.stage.bucket).publish(files, replaces=None)
