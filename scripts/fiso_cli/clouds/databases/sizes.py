"""Sizes: what each cloud is asked for, what was asked for once and is no longer sold, and what it costs a month.

List prices in USD without tax or discounts, in us-east-1, eastus and us-east4, noted on `AS_OF` from public accounts of
the vendors' price lists and not fetched from them: `PRICED_AT` says where to look. Traffic and backups beyond the size
of the disk come on top.
"""

from collections.abc import Mapping
from dataclasses import dataclass

AS_OF = "2026-11"
HOURS = 730
VERSION = "17"
"""PostgreSQL's major version, which all three sell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A server with a standby: `hourly_usd` of one of the two, `disk_usd` of a GB and month of one."""

    name: str
    disk_gb: int
    backup_days: int
    hourly_usd: float
    disk_usd: float
    priced_at: str
    instead_of: str = ""

    @property
    def monthly_usd(self) -> float:
        """Both servers and both disks, as each vendor bills a highly available one."""
        return 2 * (self.hourly_usd * HOURS + self.disk_usd * self.disk_gb)

    def describe(self) -> str:
        """In one line, for a plan."""
        instead = f"; {self.instead_of}" if self.instead_of else ""
        return (
            f"PostgreSQL {VERSION} on {self.name} with a standby, {self.disk_gb} GB, backups {self.backup_days} days, "
            f"encrypted, not public: about {self.monthly_usd:.0f} USD a month{instead}"
        )


SIZES: Mapping[str, Size] = {
    "aws": Size(
        name="db.t3.micro",
        disk_gb=20,
        backup_days=7,
        hourly_usd=0.018,
        disk_usd=0.115,
        priced_at="aws.amazon.com/rds/postgresql/pricing",
    ),
    "azure": Size(
        name="Standard_D2ds_v5",
        disk_gb=32,
        backup_days=7,
        hourly_usd=0.178,
        disk_usd=0.115,
        priced_at="azure.microsoft.com/pricing/details/postgresql/flexible-server",
        instead_of="B_Gen5_1 with 5 GB ended with Single Server on 2025-03-28; no burstable size has a standby",
    ),
    "gcp": Size(
        name="db-f1-micro",
        disk_gb=10,
        backup_days=7,
        hourly_usd=0.0105,
        disk_usd=0.17,
        priced_at="cloud.google.com/sql/pricing",
    ),
}
