"""Small paired traces, as text in the file's own format."""

from pathlib import Path
from typing import Any

HEADER = "round,t,function,in_flight,provider,region,memory_mb,cold,latency_ms,cost_usd,ok"
AWS, AZURE = "aws,us-east-1,512", "azure,westeurope,0"


def row(number: int, arm: str = AWS, *, t: float | None = None, latency_ms: object = 100, **changes: object) -> str:
    """One row; seconds 2 apart."""
    fields: dict[str, object] = {"function": "f", "in_flight": 1, "cold": False, "cost_usd": 1e-6, "ok": True} | changes
    at = 2 * number if t is None else t
    return (
        f"{number},{at},{fields['function']},{fields['in_flight']},{arm},{fields['cold']},"
        f"{latency_ms},{fields['cost_usd']},{fields['ok']}"
    )


def pair(number: int, aws: float = 100, azure: float = 200, *, t: float | None = None, **changes: Any) -> list[str]:
    """A round with two arms, their latencies in ms."""
    return [row(number, t=t, latency_ms=aws, **changes), row(number, AZURE, t=t, latency_ms=azure, **changes)]


def write(folder: Path, *rows: str, header: str = HEADER) -> Path:
    """A plain file."""
    path = folder / "trace.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path
