"""What was built: sizes against limits, as a table or as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.table import Table

from fiso_cli.packaging.manifest import ACCESS_LAYER, MB
from fiso_cli.packaging.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One archive. `counted_bytes` is what its limit applies to: unzipped, with the model layer where it has one."""

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

    @property
    def with_tokens_bytes(self) -> int | None:
        """What the orchestrator has on a stage for tokens, unzipped: its package and both layers. None if not built."""
        counted = {built.name: built.counted_bytes for built in self.built}
        return counted["orchestrator"] + counted[ACCESS_LAYER] if "orchestrator" in counted else None

    def as_json(self) -> dict[str, object]:
        """The report as JSON-able data, sizes in bytes."""
        target = {"python": self.target.python, "platform": self.target.platform or "host"}
        rows = [asdict(built) for built in self.built]
        with_tokens = {"orchestrator_with_tokens_bytes": self.with_tokens_bytes}
        return {"stage": self.stage, "target": target, "packages": rows, **with_tokens}

    def as_table(self) -> Table:
        """The report for a person."""
        table = Table(title=f"Packages for stage {self.stage} ({self.target.describe()})", title_justify="left")
        table.add_column("package")
        for heading in ("zip MB", "unzipped MB", "with model", "limit MB"):
            table.add_column(heading, justify="right")
        table.add_column("")
        for built in self.built:
            sizes = (_mb(built.zip_bytes), _mb(built.unzipped_bytes), _mb(built.counted_bytes))
            note = "unchanged" if built.is_unchanged else "built"
            table.add_row(built.name, *sizes, f"{built.unzipped_limit_mb:g}", note)
        if self.with_tokens_bytes is not None:
            table.caption = f"orchestrator on a stage with auth: jwt, both layers: {_mb(self.with_tokens_bytes)} MB"
            table.caption_justify = "left"
        return table


def _mb(size: int) -> str:
    return f"{size / MB:.2f}"
