"""`fiso drill region-loss`: lose a region on this machine, and see what was promised for that."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fiso_cli.rendering import Document, Output, Table, remark, text

if TYPE_CHECKING:
    from localcloud.drill.loss import Findings

WITHIN_S = 60.0
"""What is promised: RPO of the log that left the region, and RTO of a warm standby."""


def region_loss(
    before_s: Annotated[float, typer.Option("--before", min=1, max=600, help="Seconds of traffic before.")] = 30.0,
    outage_s: Annotated[
        int, typer.Option("--outage", min=5, max=3600, help="lease_outage_s of the function, in seconds.")
    ] = 30,
) -> Output:
    """Two regions of FISO on this machine, with one catalog; the first one's processes are killed under traffic.

    Each is a whole local cloud with a deployed stage, on ports of its own: gateway, tables, bucket, schedules, keeper,
    PostgreSQL. Exits with 1 unless all that is promised held. Takes five minutes.

    \b
    fiso drill region-loss
    """
    from localcloud.drill.loss import Drill

    with tempfile.TemporaryDirectory(prefix="fiso-drill-") as folder:
        logging.getLogger("fiso_client").setLevel(logging.ERROR)  # that a region is away is no news here
        found = Drill(folder=Path(folder), before_s=before_s, outage_s=outage_s, say=remark).run()
    checks = list(_checks(found))
    columns = [text("promised"), text("found"), text("held", lambda line: "yes" if line["held"] else "NO")]
    table = Table(columns=columns, rows=checks, style=lambda line: "" if line["held"] else "red")
    has_held = all(line["held"] for line in checks)
    return Output(document={"held": has_held, "checks": checks}, shown=[table], exit_code=0 if has_held else 1)


def _checks(found: "Findings") -> Iterator[Document]:
    def check(name: str, seen: str, held: bool, **figures: object) -> Document:
        return {"promised": name, "found": seen, "held": held, **figures}

    served = {caller: sum(one.is_answered for one in found.of(caller)) for caller in ("through", "leased", "cut off")}
    by_lease = served["leased"] + served["cut off"]
    failed = [one for one in found.samples if not one.is_answered and one.caller != "cut off"]
    yield check("both regions were ready", "yes" if found.was_ready else "no", found.was_ready)
    yield check(
        f"RPO at most {WITHIN_S:g} s",
        f"{found.rpo_s:.2f} s ({found.left} of {found.answered} records had left)",
        found.answered > 0 and found.rpo_s <= WITHIN_S,
        rpo_s=round(found.rpo_s, 3),
    )
    yield check(
        f"RTO at most {WITHIN_S:g} s",
        "never" if found.rto_s is None else f"{found.rto_s:.2f} s",
        found.rto_s is not None and found.rto_s <= WITHIN_S,
        rto_s=found.rto_s and round(found.rto_s, 3),
    )
    yield check("no request runs twice", f"{found.doubles} of {len(found.executions)}", found.doubles == 0)
    yield check(
        "requests are served",
        f"{served['through']} through FISO, {served['leased']} by lease, {len(failed)} failed",
        served["through"] > 0 and served["leased"] > 0,
        served=served,
        failed=len(failed),
    )
    yield check(
        f"by lease for {found.declared_s:g} s without FISO",
        f"{found.went_on_s:.0f} s, then {'none' if found.ended_in_no_lease else 'more'}",
        found.went_on_s >= found.declared_s and found.ended_in_no_lease,
        went_on_s=round(found.went_on_s, 1),
    )
    yield check(
        "outcomes are reported when FISO is back",
        f"{found.reported} of {by_lease}",
        found.reported == by_lease,
    )
    yield check("the same catalog", "identical" if found.same_catalog else "different", found.same_catalog)
    yield check(
        "the standby's own database goes on by number",
        f"version {found.restored} of {found.published}",
        found.restored == found.published,
    )
    yield check("the same model", "identical" if found.same_model else "different", found.same_model)
