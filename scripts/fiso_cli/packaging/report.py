"""What was built: sizes against limits, as a table or as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from fiso_cli.packaging.manifest import ACCESS_LAYER, MB
from fiso_cli.packaging.target import Target
from fiso_cli.rendering import Table, figure, text

WITHOUT_BYTECODE = (
    "no bytecode, so cold starts compile what they import: there is no python{} here. Install it, or name it in "
    "FISO_TARGET_PYTHON"
)


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
        target = {
            "python": self.target.python,
            "platform": self.target.platform or "host",
            "has_bytecode": self.target.compiler is not None,
        }
        rows = [asdict(built) for built in self.built]
        with_tokens = {"orchestrator_with_tokens_bytes": self.with_tokens_bytes}
        return {"stage": self.stage, "target": target, "packages": rows, **with_tokens}

    def as_table(self) -> Table:
        """The report for a person."""
        notes = [] if self.target.compiler else [WITHOUT_BYTECODE.format(self.target.python)]
        both = f"orchestrator on a stage with auth: jwt, both layers: {_mb(self.with_tokens_bytes or 0)} MB"
        return Table(
            title=f"Packages for stage {self.stage} ({self.target.describe()})",
            columns=[
                text("package", "name"),
                figure("zip MB", "zip_bytes", _mb),
                figure("unzipped MB", "unzipped_bytes", _mb, spare=1),
                figure("with model", "counted_bytes", _mb),
                figure("limit MB", "unzipped_limit_mb"),
                text("state", lambda built: "unchanged" if built.is_unchanged else "built"),
            ],
            rows=self.built,
            notes=[*notes, both] if self.with_tokens_bytes is not None else notes,
        )


def _mb(size: object) -> str:
    return f"{size / MB:.2f}" if isinstance(size, int) else str(size)
