"""What was built: sizes against limits, as a table or as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.table import Table

from fiso_cli.packaging.manifest import MB
from fiso_cli.packaging.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One archive. `counted_bytes` is what its limit applies to: the function unzipped, its layer included."""

    name: str
    path: str
    sha256: str
    zip_bytes: int
    unzipped_bytes: int
    counted_bytes: int
    unzipped_limit_mb: float
    zip_limit_mb: float
    is_unchanged: bool

    def complaints(self) -> list[str]:
        """The limits that it breaks, one sentence each."""
        sizes = (
            ("unzipped", self.counted_bytes, self.unzipped_limit_mb),
            ("zipped", self.zip_bytes, self.zip_limit_mb),
        )
        return [
            f"{self.name} is {_mb(size)} MB {what}, more than {limit:g}"
            for what, size, limit in sizes
            if size > limit * MB
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """Everything built for one stage."""

    stage: str
    target: Target
    built: Sequence[Built]

    def complaints(self) -> list[str]:
        """Every broken limit."""
        return [complaint for built in self.built for complaint in built.complaints()]

    def as_json(self) -> dict[str, object]:
        """The report as JSON-able data, sizes in bytes."""
        target = {"python": self.target.python, "platform": self.target.platform or "host"}
        rows = [asdict(built) for built in self.built]
        return {"stage": self.stage, "target": target, "packages": rows}

    def as_table(self) -> Table:
        """The report for a person."""
        table = Table(title=f"Packages for stage {self.stage} ({self.target.describe()})", title_justify="left")
        table.add_column("package")
        for heading in ("zip MB", "unzipped MB", "with layer", "limit MB"):
            table.add_column(heading, justify="right")
        table.add_column("")
        for built in self.built:
            sizes = (_mb(built.zip_bytes), _mb(built.unzipped_bytes), _mb(built.counted_bytes))
            note = "unchanged" if built.is_unchanged else "built"
            table.add_row(built.name, *sizes, f"{built.unzipped_limit_mb:g}", note)
        return table


def _mb(size: int) -> str:
    return f"{size / MB:.2f}"
