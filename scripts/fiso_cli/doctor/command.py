"""`fiso doctor`: the findings, the worst of each check beside its mending, in a terminal's width."""

import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from fiso.domain.endpoint import Provider
from fiso_cli.doctor.finding import Finding, Verdict
from fiso_cli.errors import FAILED, BadInput
from fiso_cli.options import StageOption
from fiso_cli.rendering import Output, progress, width_of
from fiso_cli.stage import Stage

WIDTH = 80
_COMMANDS = ("aws ", "az ", "fiso ", "gcloud ", "pip ", "serverless ", "export ", "sudo ")
_FOR_ALL = frozenset({"identity", "stack", "catalog"})
"""What every cloud's copies need: without a catalog none of them is called."""
_ORDER = (Verdict.WRONG, Verdict.WARNING, Verdict.UNKNOWN, Verdict.OK, Verdict.SKIPPED)


def doctor(
    *,
    stage: StageOption = "local",
    only: Annotated[list[str] | None, typer.Option(help="This check alone; may be repeated.")] = None,
    cloud: Annotated[
        list[Provider] | None, typer.Option(help="This cloud; may be repeated. Those of the catalog, when not said.")
    ] = None,
) -> Output:
    """Look at everything a stage needs, and say what is wrong, why it matters, and what mends it. Changes nothing.

    Exits with 1 when something is wrong, with 0 for warnings alone.

    \b
    fiso doctor --stage prod
    fiso doctor --stage prod --only tables --only alarms
    fiso doctor --stage prod --cloud azure --cloud gcp
    fiso doctor --stage prod --json | jq '.findings[] | .verdict, .fix'
    """
    from fiso_cli.doctor.checks import CHECKS, NAMES
    from fiso_cli.doctor.run import examine, is_bad
    from fiso_cli.doctor.site import Site

    if unknown := [name for name in only or () if name not in NAMES]:
        raise BadInput(f"there is no check {unknown[0]!r}; there are {', '.join(NAMES)}")
    wanted = frozenset(each.value for each in cloud or ())
    site = Site(stage=Stage.named(stage), only_clouds=wanted)
    firsts = {"identity", "stack", *(f"{name.partition('-')[0]}-identity" for name in only or ())}
    named = {name for name in NAMES if not only or name in only} | firsts
    of_clouds = {check.name for check in CHECKS if not wanted or check.cloud in wanted} | _FOR_ALL
    chosen = [check for check in CHECKS if check.name in named & of_clouds]
    found: list[Finding] = []
    with progress("looking", total=len(chosen)) as bar:
        seen: set[str] = set()
        for finding in examine(site, chosen):
            found.append(finding)
            if finding.check not in seen:
                seen.add(finding.check)
                bar.say(f"looked at {finding.check}")
                bar.advance()
    if wanted and "aws" not in wanted:  # looked at for what the others need
        found = [each for each in found if each.check not in _FOR_ALL or each.verdict is Verdict.WRONG]
    if only:
        found = [each for each in found if each.check in only or each.verdict is Verdict.WRONG]
    found.sort(key=lambda each: (_ORDER.index(each.verdict), NAMES.index(each.check)))
    counts = Counter(each.verdict.value for each in found)
    document = {"stage": stage, "counts": dict(counts), "findings": [asdict(each) for each in found]}
    width = min(WIDTH, width_of(sys.stdout))
    return Output(document=document, shown=list(_lines(found, width)), exit_code=FAILED if is_bad(found) else 0)


def _lines(found: Sequence[Finding], width: int) -> Iterator[str]:
    for finding in found:
        if finding.verdict is not Verdict.SKIPPED:
            head = f"{finding.verdict.value:<8} {finding.check:<10} "
            yield textwrap.fill(finding.what, width, initial_indent=head, subsequent_indent=" " * 20)
        if finding.why:
            yield textwrap.fill(finding.why, width, initial_indent=" " * 20, subsequent_indent=" " * 20)
        if finding.fix:
            yield _fix(finding.fix, width)
    by_reason: dict[str, list[str]] = {}
    for finding in found:
        if finding.verdict is Verdict.SKIPPED:
            by_reason.setdefault(finding.what, []).append(finding.check)
    for reason, names in by_reason.items():
        text = f"skipped, {reason}: {', '.join(names)}"
        yield textwrap.fill(text, width, subsequent_indent=" " * 9)
    counts = Counter(each.verdict for each in found)
    yield ", ".join(f"{counts[verdict]} {verdict}" for verdict in _ORDER if counts[verdict])


def _fix(fix: str, width: int) -> str:
    """A command may be copied as it stands, over several lines too."""
    if not fix.startswith(_COMMANDS):
        return textwrap.fill(fix, width, initial_indent="  mend: ", subsequent_indent=" " * 8)
    lines = textwrap.wrap(fix, width - 10, break_long_words=False, break_on_hyphens=False)
    return "  mend: " + " \\\n        ".join(lines)
