"""A log and bills beside each other, for `fiso report savings`: what was asked for, checked first, then done."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal, localcontext
from pathlib import Path

from fiso.domain.catalog import CatalogEntry
from fiso_cli.errors import BadInput
from fiso_cli.options import CATALOG
from fiso_cli.rendering import Part
from fiso_cli.reports.bills import focus, matching, view, writing
from fiso_cli.reports.bills.focus import STDIN, Charge, Money, Reader
from fiso_cli.reports.bills.resources import Resources, Why
from fiso_cli.reports.bills.usage import Usage
from fiso_cli.reports.bills.view import Cost, Document
from fiso_cli.stage import Stage

_RATE = re.compile(r"([A-Z]{3})=([0-9]{1,9}(?:\.[0-9]{1,12})?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is wanted beside the savings. `BadInput` for what cannot be."""

    bills: Sequence[str]
    cost: Cost
    rates: Mapping[str, Decimal]
    unmatched: Path | None
    focus: Path | None

    def __bool__(self) -> bool:
        return bool(self.bills or self.focus)


def asked(
    bills: Sequence[str], *, cost: str, rates: Sequence[str], unmatched: Path | None, focus: Path | None
) -> Asked:
    """The options, checked before anything is read."""
    if cost not in list(Cost):
        raise BadInput(f"--cost must be {', '.join(Cost)}, not {cost!a}")
    if unmatched is not None and not bills:
        raise BadInput("--unmatched needs a --bill")
    seen = set[Path]()
    for name in bills:
        path = Path(name).resolve()
        if path in seen:
            raise BadInput(f"{name} is given twice: its charges would count twice")
        seen.add(path)
    for out in (unmatched, focus):
        if out == Path(STDIN):
            raise BadInput("--unmatched and --focus need a file: the report itself is on standard output")
        if out is not None and (out.resolve() in seen or unmatched == focus):
            raise BadInput(f"{out} is to be read and written, or written twice")
    return Asked(bills=bills, cost=Cost(cost), rates=dict(map(_rate, rates)), unmatched=unmatched, focus=focus)


def _rate(text: str) -> tuple[str, Decimal]:
    found = _RATE.fullmatch(text.upper())
    if found is None or not Decimal(found[2]):
        raise BadInput(f"--rate must be a currency and its worth in USD, as in EUR=1.08, not {text!a}")
    return found[1], Decimal(found[2])


def catalog(where: Stage, log: Path | None, file: Path | None) -> Iterable[CatalogEntry]:
    """The functions that a bill is matched with: a file's, or those in force on the stage that the log is of. None for
    a log in a folder without a catalog."""
    if file is None and log is None:
        with where.wrapped_errors():
            return where.catalog_store().load().entries.values()
    if file is None and not CATALOG.exists():
        return ()
    from fiso_cli.catalog import declaration

    return declaration.read(file or CATALOG, declaration.Setting.of(where)).entries


def compare(asked: Asked, usage: Usage, resources: Resources, *, keep_lines: bool) -> tuple[Document, list[Part]]:
    """The bills beside the log: for machines, with every line that fits nothing where they are to be kept, and for
    people."""
    reader, lines = Reader(asked.bills), list[Document]()

    def convert(charge: Charge) -> Money:
        return focus.converted(charge, writing.CURRENCY, asked.rates)

    with ExitStack() as closing, localcontext(prec=matching.PRECISION):
        out = closing.enter_context(writing.replacing(asked.unmatched)) if asked.unmatched else None

        def told(charge: Charge, why: Why, money: Money) -> None:
            if keep_lines:
                lines.append(view.line(charge, why, money))
            if out:
                cells = dict(zip(reader.header, charge.cells, strict=True))
                out.write(json.dumps({"why": why, "file": charge.file, "line": charge.line, "cells": cells}) + "\n")

        found = matching.match(usage, resources, reader, convert=convert, told=told)
        shown = view.shown(found, asked.cost)
        document = view.document(found, asked.cost, lines) if keep_lines else Document()
    if reader.repeated:
        shown.append(f"{reader.repeated:,} lines stand word for word in an earlier file: are days counted twice?")
    return document | {"repeated_lines": reader.repeated}, shown


def write(path: Path, usage: Usage, stage: str) -> tuple[Document, list[Part]]:
    """The log as FOCUS in a file, and what of the log is not in it."""
    with localcontext(prec=matching.PRECISION):
        count = writing.write(path, usage, stage)
        left_out = writing.left_out(usage)
    shown: list[Part] = [f"{path}: {count:,} lines of FOCUS {writing.VERSION}, the log's estimates"]
    shown += [
        f"{copy.function}/{copy.endpoint}: {use.calls:,} calls ({use.usd:.3g} USD) are not in it: no price, or no such "
        "copy in the catalog"
        for copy, use in left_out.items()
    ]
    found = [{**copy._asdict(), "calls": use.calls, "usd": str(use.usd)} for copy, use in left_out.items()]
    return {"file": str(path), "lines": count, "left_out": found}, shown
