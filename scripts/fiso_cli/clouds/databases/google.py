"""PostgreSQL on Cloud SQL, by its Admin API: a regional server in a private network of the project's."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fiso_cli.clouds.databases.secret import DATABASE, OWNER, Secret
from fiso_cli.clouds.databases.sizes import SIZES, VERSION
from fiso_cli.clouds.google.client import Document, Google, Refused
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step, different, not_ours

WAIT_S = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudSqlServer:
    """One stage's. `network` is one with private services access, as `projects/P/global/networks/N`."""

    google: Google
    stage: str
    secret: Secret
    region: str
    network: str
    clock: Callable[[], float] = time.monotonic

    @property
    def name(self) -> str:
        return f"fiso-{self.stage}"

    @property
    def labels(self) -> dict[str, str]:
        return {"fiso-stage": self.stage, "fiso-deployment": "database"}

    def steps(self) -> list[Step]:
        return [
            self._api(),
            self.secret.step(),
            self._server(),
            self._part("database", "databases", {"name": DATABASE}, DATABASE),
            self._owner(),
            self.secret.address_step(self.address),
        ]

    def declared(self) -> Document:
        """The instance, all but the password (Cloud SQL Admin API v1, DatabaseInstance)."""
        size = SIZES["gcp"]
        return {
            "name": self.name,
            "region": self.region,
            "databaseVersion": f"POSTGRES_{VERSION}",
            "settings": {
                "tier": size.name,
                "edition": "ENTERPRISE",  # the other one, which newer versions get by default, has no small sizes
                "availabilityType": "REGIONAL",
                "dataDiskSizeGb": str(size.disk_gb),
                "dataDiskType": "PD_SSD",
                "storageAutoResize": True,
                "backupConfiguration": {
                    "enabled": True,
                    "pointInTimeRecoveryEnabled": True,
                    "transactionLogRetentionDays": size.backup_days,
                    "backupRetentionSettings": {"retentionUnit": "COUNT", "retainedBackups": size.backup_days},
                },
                "ipConfiguration": {
                    "ipv4Enabled": False,
                    "privateNetwork": self.network,
                    "sslMode": "ENCRYPTED_ONLY",
                    "serverCaMode": "GOOGLE_MANAGED_CAS_CA",  # certificates that name the host, which clients verify
                },
                "databaseFlags": [{"name": "cloudsql.iam_authentication", "value": "on"}],
                "deletionProtectionEnabled": True,
                "userLabels": self.labels,
            },
        }

    def _asked(self, method: Callable[[Any], Any]) -> Document:
        return self.google.call("sqladmin", method)

    @property
    def _at(self) -> dict[str, str]:
        return {"project": self.google.project, "instance": self.name}

    def _found(self) -> Document | None:
        return self.google.find("sqladmin", lambda api: api.instances().get(**self._at))

    def address(self) -> tuple[str, int] | None:
        """Its name in the network, which its certificate has, or its address, once it has one."""
        found = self._found() or {}
        if found.get("dnsName"):
            return str(found["dnsName"]).rstrip("."), 5432
        given = [each["ipAddress"] for each in found.get("ipAddresses", []) if each.get("type") == "PRIVATE"]
        if not given:
            return None
        host, _, port = str(given[0]).partition(":")
        return host, int(port or 5432)

    def _api(self) -> Step:
        api = "sqladmin.googleapis.com"
        parent = f"projects/{self.google.project}"

        def look() -> Look:
            found = self.google.call(
                "serviceusage",
                lambda services: services.services().batchGet(parent=parent, names=[f"{parent}/services/{api}"]),
            )
            is_on = all(each.get("state") == "ENABLED" for each in found.get("services", []))
            if is_on:
                self.google.enabled.add(api)
            return AS_WANTED if is_on else ABSENT

        def make(say: Say) -> None:
            body = {"serviceIds": [api]}
            begun = self.google.call(
                "serviceusage", lambda services: services.services().batchEnable(parent=parent, body=body)
            )
            self.google.wait("serviceusage", begun, say, "enable the API")

        return Step(name="API sqladmin", makes=f"enabled in {self.google.project}", look=look, make=make, is_slow=True)

    def _server(self) -> Step:
        def look() -> Look:
            found = self._found()
            if found is None:
                return ABSENT
            if {**self.labels, **found["settings"].get("userLabels", {})} != found["settings"].get("userLabels"):
                return not_ours(f"the Cloud SQL instance {self.name} does not carry this stage's labels")
            if found.get("state") != "RUNNABLE":
                return different(f"is {found.get('state')}")
            why = _differs(self.declared()["settings"], found["settings"])
            return different(why) if why else AS_WANTED

        return Step(
            name=f"server {self.name}",
            makes=SIZES["gcp"].describe(),
            look=look,
            make=self._make,
            undo=self._undo,
            is_slow=True,
        )

    def _make(self, say: Say) -> None:
        project, found = self.google.project, self._found()
        if found is None:
            self._done(lambda api: api.instances().insert(project=project, body=self.declared()), say)
        elif found.get("state") == "RUNNABLE":
            body = {"settings": self.declared()["settings"]}
            self._done(lambda api: api.instances().patch(**self._at, body=body), say)
        self._until_runnable(say)

    def _until_runnable(self, say: Say) -> None:
        """An earlier run's creation is waited for as well: it has no name to ask for."""
        began = self.clock()
        while (found := self._found()) is not None and found.get("state") == "PENDING_CREATE":
            if self.clock() - began > WAIT_S:
                raise Refused(f"server {self.name}: Google is still at it: run it again later", 504)
            self.google.pause(5.0)

    def _undo(self, say: Say) -> None:
        body = {"settings": {"deletionProtectionEnabled": False}}
        self._done(lambda api: api.instances().patch(**self._at, body=body), say)
        self._done(lambda api: api.instances().delete(**self._at), say)

    def _part(self, what: str, kind: str, body: Document, name: str) -> Step:
        def look() -> Look:
            if self._found() is None:
                return ABSENT
            found = self.google.find("sqladmin", lambda api: getattr(api, kind)().get(**self._at, database=name))
            return AS_WANTED if found else ABSENT

        def make(say: Say) -> None:
            self._done(lambda api: getattr(api, kind)().insert(**self._at, body=body), say)

        return Step(name=f"{what} {name}", makes=f"the catalog's {what}", look=look, make=make)

    def _owner(self) -> Step:
        def look() -> Look:
            if self._found() is None:
                return ABSENT
            found = self.google.find("sqladmin", lambda api: api.users().list(**self._at)) or {}
            return AS_WANTED if any(each.get("name") == OWNER for each in found.get("items", [])) else ABSENT

        def make(say: Say) -> None:
            body = {"name": OWNER, "password": self.secret.password()}
            self._done(lambda api: api.users().insert(**self._at, body=body), say)

        return Step(
            name=f"owner {OWNER}", makes="the catalog's owner, with the secret's password", look=look, make=make
        )

    def _done(self, method: Callable[[Any], Any], say: Say) -> None:
        """Begin, and follow the operation to its end. What is there already, or gone already, is as wanted."""
        try:
            operation = self._asked(method)
        except Refused as refused:
            if refused.code not in (404, 409):
                raise
            if refused.code == 409 and self._found() is None:  # a name stays taken for a week after a removal
                raise
            return
        began, pause, told = self.clock(), 0.5, 0.0
        while operation.get("status") != "DONE":
            spent = self.clock() - began
            if spent > WAIT_S:
                raise Refused(f"{operation['name']}: not done after {spent:.0f} s; run it again later", 504)
            if spent - told >= 15:
                told = spent
                say(f"  {self.name}: {spent:.0f} s …")
            self.google.pause(pause)
            pause = min(pause * 1.5, 10.0)
            name = operation["name"]
            operation = self._asked(
                lambda api, name=name: api.operations().get(project=self.google.project, operation=name)  # type: ignore[misc]
            )
        if errors := operation.get("error", {}).get("errors"):
            raise Refused(f"{self.name}: {' '.join(str(errors[0].get('message', errors[0])).split())[:300]}", 500)


def _differs(wanted: Document, found: Document, at: str = "") -> str:
    """In words; a disk that grew by itself, and what Google adds, are no difference."""
    for name, value in wanted.items():
        theirs, place = found.get(name), f"{at}{name}"
        if isinstance(value, dict):
            if why := _differs(value, theirs if isinstance(theirs, dict) else {}, f"{place}."):
                return why
        elif name == "dataDiskSizeGb":
            if int(theirs or 0) < int(value):
                return f"{place}: {theirs} instead of {value}"
        elif (theirs or False) != value:
            return f"{place}: {theirs} instead of {value}"
    return ""
