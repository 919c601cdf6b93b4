"""Spilled lines as the orchestrator writes them, with what its logger adds."""

import itertools
import json
from datetime import datetime

from fiso.codecs.record import open_to_document, to_document
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.ports import SpilledLine
from fiso.services.log.spill import MARK

_numbers = itertools.count()


def line(record: InvocationRecord | OpenRecord, written_at: datetime) -> SpilledLine:
    document = to_document(record) if isinstance(record, InvocationRecord) else open_to_document(record)
    text = json.dumps({"level": "ERROR", "message": MARK, MARK: document, "cause": "throttled"})
    return SpilledLine(id=str(next(_numbers)), written_at=written_at, text=text)
