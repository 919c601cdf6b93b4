"""`fiso drill …`: lose a region, or all of AWS, on this machine, and see what was promised for that."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fiso_cli.rendering import Document, Output, Table, remark, text

if TYPE_CHECKING:
    from localcloud.drill import aws_loss as aws
    from localcloud.drill.loss import Findings

LEAST_SHARE = 0.999
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
    return _told(list(_checks(found)))


def aws_loss(
    minutes: Annotated[float, typer.Option(min=0.1, max=120, help="How long AWS is away.")] = 10.0,
    before_s: Annotated[float, typer.Option("--before", min=2, max=600, help="Seconds of traffic before.")] = 20.0,
) -> Output:
    """All of the local AWS is killed under load; a front door on another cloud serves on, and its log is merged.

    AWS is a whole local cloud with a deployed stage: gateway, tables, bucket, secrets, schedules, functions. The door
    is the container's own program, with a storage of its cloud's form and nothing of AWS's. Exits with 1 unless all
    that is promised held. Takes three minutes more than AWS is away.

    \b
    fiso drill aws-loss --minutes 1
    """
    from localcloud.drill.aws_loss import Drill

    with tempfile.TemporaryDirectory(prefix="fiso-drill-") as folder:
        logging.getLogger("fiso_client").setLevel(logging.ERROR)
        found = Drill(folder=Path(folder), before_s=before_s, outage_s=minutes * 60, say=remark).run()
    return _told(list(_checks_of_aws(found)))


def _told(checks: list[Document]) -> Output:
    columns = [text("promised"), text("found"), text("held", lambda line: "yes" if line["held"] else "NO")]
    table = Table(columns=columns, rows=checks, style=lambda line: "" if line["held"] else "red")
    has_held = all(line["held"] for line in checks)
    return Output(document={"held": has_held, "checks": checks}, shown=[table], exit_code=0 if has_held else 1)


def _checks_of_aws(found: "aws.Findings") -> Iterator[Document]:
    def check(name: str, seen: str, held: bool, **figures: object) -> Document:
        return {"promised": name, "found": seen, "held": held, **figures}

    asked, orders = found.repeatable, found.during("orders")
    answered = sum(one.is_answered for one in asked)
    share = answered / len(asked) if asked else 0.0
    yield check(
        f"at least {LEAST_SHARE:.1%} of what may be repeated is answered",
        f"{share:.2%} ({answered} of {len(asked)}), from 1 s after detection",
        share >= LEAST_SHARE,
        share=round(share, 5),
    )
    yield check(
        "the loss is detected",
        f"within {found.detected_at - found.lost_at:.1f} s",
        found.detected_at < found.back_at,
        detected_s=round(found.detected_at - found.lost_at, 2),
    )
    kept = sum(one.is_answered for one in orders)
    yield check("what must not run twice is served too", f"{kept} of {len(orders)} answered", kept > 0)
    yield check(
        "no order runs twice",
        f"{len(found.doubles)} of {sum(id.startswith('orders') for id in found.executions)}",
        not found.doubles,
    )
    told = sum(bool(one.invocation_id) for one in found.samples)
    yield check("no record is lost after the merge", f"{len(found.lost)} of {told}", told > 0 and not found.lost)
    leased = sum(one.is_answered for one in found.samples if one.caller == "leased reads")
    yield check("outcomes of leases are reported", f"{found.reported} for {leased} answered", found.reported >= leased)
    yield check(
        "the keeper merges the door's log",
        "never" if found.merged_s is None else f"within {found.merged_s:.1f} s of its first round",
        found.merged_s is not None,
        merged_s=found.merged_s and round(found.merged_s, 1),
    )
    is_refused = found.change.startswith("refused")
    own, there = found.served_version
    yield check("a catalog change in the outage is refused or kept", found.change, is_refused or own == there)
    yield check("one catalog at both doors", f"version {own} and {there}", own == there)
    yield check("the door ends with everything written", "yes" if found.was_clean else "no", found.was_clean)


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
