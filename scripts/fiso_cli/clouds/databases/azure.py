"""PostgreSQL on Azure Database, flexible server: two zones, backups in a second region, no public address."""

from dataclasses import dataclass

from fiso_cli.clouds.azure import steps as shared
from fiso_cli.clouds.azure.arm import Absent, Arm, Document
from fiso_cli.clouds.azure.names import Group
from fiso_cli.clouds.databases.secret import DATABASE, OWNER, Secret
from fiso_cli.clouds.databases.sizes import SIZES, VERSION
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step, different, not_ours

PROVIDER, POSTGRES, LOCKS = "Microsoft.DBforPostgreSQL", "2024-08-01", "2020-05-01"
KIND = f"{PROVIDER}/flexibleServers"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseGroup(Group):
    """A resource group of the database's own: the functions' goes with the functions."""

    @property
    def name(self) -> str:
        return f"fiso-{self.stage}-database"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlexibleServer:
    """One stage's. `tenant` is the Entra tenant whose people may be let in without a password."""

    arm: Arm
    stage: str
    secret: Secret
    region: str
    tenant: str = ""

    @property
    def group(self) -> Group:
        return DatabaseGroup(stage=self.stage, subscription=self.arm.subscription)

    @property
    def name(self) -> str:
        """One in the world: it is a host."""
        return f"fiso-{self.stage}-{self.group.hashed('database', length=8)}"

    @property
    def id(self) -> str:
        return self.group.resource(KIND, self.name)

    @property
    def lock(self) -> str:
        """What keeps it from being deleted, whoever asks: flexible servers have no protection of their own."""
        return f"{self.id}/providers/Microsoft.Authorization/locks/fiso-database"

    @property
    def tags(self) -> dict[str, str]:
        return self.group.tags("database")

    def steps(self) -> list[Step]:
        group = shared.resource_group(self.arm, self.group, self.region, undo=True)
        return [
            shared.provider(self.arm, PROVIDER),
            group,
            self.secret.step(),
            self._server(),
            self._database(),
            self._lock(),
            self.secret.address_step(self.address),
        ]

    def declared(self) -> Document:
        """The server, all but the password (Microsoft.DBforPostgreSQL/flexibleServers)."""
        size = SIZES["azure"]
        signed_in = {"activeDirectoryAuth": "Enabled", "tenantId": self.tenant} if self.tenant else {}
        return {
            "location": self.region,
            "tags": self.tags,
            "sku": {"name": size.name, "tier": "GeneralPurpose"},
            "properties": {
                "version": VERSION,
                "administratorLogin": OWNER,
                "storage": {"storageSizeGB": size.disk_gb, "autoGrow": "Enabled"},
                "backup": {"backupRetentionDays": size.backup_days, "geoRedundantBackup": "Enabled"},
                "highAvailability": {"mode": "ZoneRedundant"},
                "network": {"publicNetworkAccess": "Disabled"},
                "authConfig": {"passwordAuth": "Enabled", **signed_in},
            },
        }

    def address(self) -> tuple[str, int] | None:
        """Where it answers, once it says so."""
        found = self.arm.find(self.id, POSTGRES) or {}
        host = str(found.get("properties", {}).get("fullyQualifiedDomainName") or "")
        name, _, port = host.partition(":")
        return (name, int(port or 5432)) if name else None

    def _server(self) -> Step:
        def look() -> Look:
            found = self.arm.find(self.id, POSTGRES)
            if found is None:
                return ABSENT
            tags = found.get("tags") or {}
            if any(tags.get(key) != value for key, value in self.tags.items()):
                return not_ours(f"server {self.name} does not carry this stage's tags")
            state = str(found["properties"].get("state", ""))
            if state != "Ready":
                return different(f"is {state.lower() or 'being made'}")
            why = _differs({"sku": self.declared()["sku"], **self.declared()["properties"]}, _flat(found))
            return different(why) if why else AS_WANTED

        def make(say: Say) -> None:
            body = self.declared()
            body["properties"] |= {"administratorLoginPassword": self.secret.password()}
            shared.while_busy(self.arm, say, lambda: self.arm.call("PUT", self.id, POSTGRES, body))

        def undo(say: Say) -> None:
            """Azure keeps a deleted server's backups for five days (az postgres flexible-server restore)."""
            self._gone(self.lock, LOCKS)
            shared.while_busy(self.arm, say, lambda: self._gone(self.id, POSTGRES))

        what = SIZES["azure"].describe()
        return Step(name=f"server {self.name}", makes=what, look=look, make=make, undo=undo, is_slow=True)

    def _database(self) -> Step:
        path = f"{self.id}/databases/{DATABASE}"
        body = {"properties": {"charset": "UTF8", "collation": "en_US.utf8"}}

        def make(say: Say) -> None:
            shared.while_busy(self.arm, say, lambda: self.arm.call("PUT", path, POSTGRES, body))

        return Step(
            name=f"database {DATABASE}", makes="the catalog's database", look=self._there(path, POSTGRES), make=make
        )

    def _lock(self) -> Step:
        body = {"properties": {"level": "CanNotDelete", "notes": "fiso db create azure --destroy takes it away"}}

        def make(say: Say) -> None:
            self.arm.call("PUT", self.lock, LOCKS, body)

        return Step(
            name="deletion lock", makes="nobody deletes it by hand", look=self._there(self.lock, LOCKS), make=make
        )

    def _there(self, path: str, version: str):  # type: ignore[no-untyped-def]
        def look() -> Look:
            if self.arm.find(self.id, POSTGRES) is None:
                return ABSENT
            return AS_WANTED if self.arm.find(path, version) else ABSENT

        return look

    def _gone(self, path: str, version: str) -> None:
        try:
            self.arm.call("DELETE", path, version)
        except Absent:
            return


def _flat(found: Document) -> Document:
    return {"sku": found.get("sku", {}), **found["properties"]}


def _differs(wanted: Document, found: Document, at: str = "") -> str:
    """In words; a disk that grew by itself is no difference."""
    for name, value in wanted.items():
        theirs = found.get(name)
        if isinstance(value, dict):
            if why := _differs(value, theirs if isinstance(theirs, dict) else {}, f"{at}{name}."):
                return why
        elif theirs != value and not (name == "storageSizeGB" and int(theirs or 0) > value):
            return f"{at}{name}: {theirs} instead of {value}"
    return ""
