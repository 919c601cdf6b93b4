"""PostgreSQL on RDS, by its own API: a server with a standby in another zone, behind the network's own walls."""

from dataclasses import dataclass, field

from fiso_cli.clouds.aws.client import Aws, Document, Refused
from fiso_cli.clouds.databases.secret import DATABASE, OWNER, Secret
from fiso_cli.clouds.databases.sizes import SIZES, VERSION
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step, different, not_ours

ENGINE = "postgres"


@dataclass(frozen=True, slots=True, kw_only=True)
class RdsServer:
    """One stage's. `subnets` is a DB subnet group of the keeper's network, `firewalls` are security groups; both are
    the default ones of the account where they are not given."""

    aws: Aws
    stage: str
    secret: Secret
    subnets: str = ""
    firewalls: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"fiso-{self.stage}"

    def steps(self) -> list[Step]:
        return [self.secret.step(), self._server(), self.secret.address_step(self.address)]

    def declared(self) -> Document:
        """CreateDBInstance, all but the password."""
        size = SIZES["aws"]
        network: Document = {"DBSubnetGroupName": self.subnets} if self.subnets else {}
        network |= {"VpcSecurityGroupIds": [*self.firewalls]} if self.firewalls else {}
        return {
            "Engine": ENGINE,
            "EngineVersion": VERSION,
            "DBInstanceClass": size.name,
            "AllocatedStorage": size.disk_gb,
            "StorageType": "gp3",
            "StorageEncrypted": True,
            "MultiAZ": True,
            "PubliclyAccessible": False,
            "BackupRetentionPeriod": size.backup_days,
            "CopyTagsToSnapshot": True,
            "DeletionProtection": True,
            "EnableIAMDatabaseAuthentication": True,
            "AutoMinorVersionUpgrade": True,
            "MasterUsername": OWNER,
            "DBName": DATABASE,
            "Tags": [{"Key": key, "Value": value} for key, value in self._tags.items()],
            **network,
        }

    @property
    def _tags(self) -> dict[str, str]:
        return {"fiso-stage": self.stage, "fiso-deployment": "database"}

    def _found(self) -> Document | None:
        found = self.aws.find("rds", "describe_db_instances", DBInstanceIdentifier=self.name)
        instance: Document | None = found["DBInstances"][0] if found and found["DBInstances"] else None
        return instance

    def address(self) -> tuple[str, int] | None:
        """Where it answers, once it does."""
        endpoint = (self._found() or {}).get("Endpoint") or {}
        return (str(endpoint["Address"]), int(endpoint["Port"])) if endpoint.get("Port") else None

    def _server(self) -> Step:
        def look() -> Look:
            found = self._found()
            if found is None or found["DBInstanceStatus"] == "deleting":
                return ABSENT
            if not self._is_ours(found):
                return not_ours(f"the RDS instance {self.name} does not carry this stage's tags")
            why = self._differs(found)
            return different(why) if why else AS_WANTED

        return Step(
            name=f"server {self.name}",
            makes=SIZES["aws"].describe(),
            look=look,
            make=self._make,
            undo=self._undo,
            is_slow=True,
        )

    def _is_ours(self, found: Document) -> bool:
        tags = {each["Key"]: each["Value"] for each in found.get("TagList", [])}
        return all(tags.get(key) == value for key, value in self._tags.items())

    def _differs(self, found: Document) -> str:
        """In words; what RDS calls otherwise when it is read is compared by that name."""
        if found["DBInstanceStatus"] != "available":
            return f"is {found['DBInstanceStatus']}"
        for name in (*_CHANGED, "StorageEncrypted"):
            wanted = self.declared()[name]
            theirs = found.get(_READ_AS.get(name, name))
            if theirs != wanted:
                return f"{name}: {theirs} instead of {wanted}"
        return ""

    def _make(self, say: Say) -> None:
        if self._found() is None:
            body = {**self.declared(), "MasterUserPassword": self.secret.password()}
            try:
                self.aws.call("rds", "create_db_instance", DBInstanceIdentifier=self.name, **body)
            except Refused as refused:
                if refused.code not in ("DBInstanceAlreadyExists", "DBInstanceAlreadyExistsFault"):
                    raise
        self._until_available(say)
        found = self._found() or {}
        changed = {
            name: value
            for name, value in self.declared().items()
            if name in _CHANGED and found.get(_READ_AS.get(name, name)) != value
        }
        if changed:
            where: Document = {"DBInstanceIdentifier": self.name, "ApplyImmediately": True}
            self.aws.call("rds", "modify_db_instance", **where, **changed)
            self._until_available(say)

    def _until_available(self, say: Say) -> None:
        self.aws.until(lambda: (self._found() or {}).get("DBInstanceStatus") == "available", f"server {self.name}", say)

    def _undo(self, say: Say) -> None:
        """The backups go with it; a last snapshot stays under the server's name, until somebody deletes it."""
        where = {"DBInstanceIdentifier": self.name}
        self.aws.call("rds", "modify_db_instance", **where, DeletionProtection=False, ApplyImmediately=True)
        self._until_available(say)
        last: Document = {
            "SkipFinalSnapshot": False,
            "FinalDBSnapshotIdentifier": f"{self.name}-last-{self._made_at()}",
        }
        self.aws.find("rds", "delete_db_instance", **where, **last)
        self.aws.until(lambda: self._found() is None, f"removal of {self.name}", say)

    def _made_at(self) -> str:
        made = (self._found() or {}).get("InstanceCreateTime")
        return f"{made:%Y%m%d%H%M%S}" if made else "unknown"


_CHANGED = (
    "DBInstanceClass",
    "MultiAZ",
    "PubliclyAccessible",
    "BackupRetentionPeriod",
    "CopyTagsToSnapshot",
    "DeletionProtection",
    "EnableIAMDatabaseAuthentication",
)
"""What may be changed of a server that stands, and is put right."""
_READ_AS = {"EnableIAMDatabaseAuthentication": "IAMDatabaseAuthenticationEnabled"}
