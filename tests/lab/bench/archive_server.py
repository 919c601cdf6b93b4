"""A stand-in for S3 that holds a month of archive without holding it: what is asked for is made on the fly.

Speaks S3's protocol to boto3 (ListObjectsV2, GetObject with ranges, PutObject with conditions, DeleteObjects). An
answer waits about as S3's do: a median of 20 ms to the first byte of an object and 60 ms of a listing, one in a hundred
ten times that (docs.aws.amazon.com/AmazonS3, "Performance design patterns": 100 to 200 ms for small objects).
`python -m tests.lab.bench.archive_server RATE compact|small|small-older END` prints its port.
"""

import gzip
import hashlib
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from fiso.codecs.record import instant
from tests.lab.bench.archive_records import lines

GET_S, LIST_S, SLOW = 0.020, 0.060, 10
COMPACT_RECORDS = 120_000
COMPACT_RECORD_BYTES, SMALL_RECORD_BYTES = 140, 600
PAGE = 1_000


class Month:
    """The archive of the 30 days before `end`: at `rate` requests a second, as compact objects for closed hours but the
    last, or as small ones of up to 25 records by the hour or, of older code, by the day."""

    def __init__(self, rate: float, form: str, end: datetime) -> None:
        self.rate, self.form, self.end = rate, form, end
        self.each = max(1, min(25, round(rate / 4)))

    def keys(self, day: date) -> "Keys":
        return Keys(self, day)

    def records_of(self, hour: int, day: date) -> int:
        """How many an hour has; the one that is under way has fewer."""
        start = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
        return int(self.rate * max(0.0, min(3600.0, (self.end - start).total_seconds())))

    def is_compact(self, hour: int, day: date) -> bool:
        ended = datetime(day.year, day.month, day.day, hour, tzinfo=UTC) + timedelta(hours=2)
        return self.form == "compact" and ended <= self.end


class Keys:
    """A day's keys in their order, of which any may be asked for without making the others."""

    def __init__(self, month: Month, day: date) -> None:
        self._prefix, self._parts = f"archive/date={day.isoformat()}/", list[tuple[str, int, Callable[[int], str]]]()
        hours = [(hour, month.records_of(hour, day)) for hour in range(24)]
        for hour, records in hours:
            if month.is_compact(hour, day):
                count = -(-records // COMPACT_RECORDS)
                each = records // count
                self._add(f"{self._prefix}compact/{hour:02d}-{each:09d}-", count)
        if month.form == "small-older":
            self._add(self._prefix, sum(records for _, records in hours) // month.each)
        else:
            for hour, records in hours:
                if not month.is_compact(hour, day) and records:
                    self._add(f"{self._prefix}hour={hour:02d}/", -(-records // month.each))

    def _add(self, prefix: str, count: int) -> None:
        step = 16**12 // max(1, count)
        self._parts.append((prefix, count, lambda number: f"{prefix}{number * step:012x}{'0' * 12}.jsonl.gz"))

    def after(self, prefix: str, last: str) -> Iterator[str]:
        """Those below a prefix after a key, in order."""
        for of, count, key in self._parts:
            if not (of.startswith(prefix) or prefix.startswith(of)) or (count and key(count - 1) <= last):
                continue
            low, high = 0, count
            while low < high:
                middle = (low + high) // 2
                low, high = (middle + 1, high) if key(middle) <= last else (low, middle)
            yield from (name for number in range(low, count) if (name := key(number)).startswith(prefix))


class Server(ThreadingHTTPServer):
    """`puts` holds what was written; archive objects are made when they are read."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, month: Month, *, is_slow: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.is_slow = is_slow
        self.month, self.puts, self.lock = month, dict[str, bytes](), Lock()
        self.calls: dict[str, int] = {}

    def listing(self, prefix: str, last: str, delimiter: str) -> tuple[list[tuple[str, int]], list[str], bool]:
        """Objects with their sizes, folders, and whether there are more."""
        found: list[tuple[str, int]] = []
        folders: list[str] = []
        for key in self._keys(prefix, last):
            folder = prefix + key[len(prefix) :].partition("/")[0] + "/" if delimiter else ""
            if delimiter and "/" in key[len(prefix) :]:
                if folder not in folders and folder > last:
                    folders.append(folder)
                continue
            if len(found) + len(folders) >= PAGE:
                return found, folders, True
            found.append((key, self.size(key)))
        return found, folders, False

    def _keys(self, prefix: str, last: str) -> Iterator[str]:
        written = sorted(key for key in self.puts if key.startswith(prefix) and key > last)
        if not prefix.startswith("archive/date=") or len(prefix) < len("archive/date=2026-11-22/"):
            yield from written
            return
        day = date.fromisoformat(prefix[13:23])
        yield from self.month.keys(day).after(prefix, last)

    def size(self, key: str) -> int:
        """As a listing tells it."""
        if "/compact/" in key:
            return int(key.rsplit("/", 1)[1].split("-")[1]) * COMPACT_RECORD_BYTES
        return SMALL_RECORD_BYTES * self.month.each if key.startswith("archive/") else len(self.puts[key])

    def body(self, key: str, first: int | None) -> bytes | None:
        """An object's bytes, or the first of them."""
        if key in self.puts or not key.startswith("archive/"):
            kept = self.puts.get(key)
            return kept if kept is None or first is None else kept[:first]
        day, rest = date.fromisoformat(key[13:23]), key[24:]
        of = rest.removeprefix("compact/").removeprefix("hour=")[:2]
        seed = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16)
        of_day = [hour for hour in range(24) if self.month.records_of(hour, day)]
        hour = int(of) if rest.startswith(("compact/", "hour=")) else of_day[seed % len(of_day)]
        start = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
        count = self.month.each if first is None else first // COMPACT_RECORD_BYTES
        return gzip.compress(b"\n".join(lines(start, seed, count)), 1, mtime=0)


class Handler(BaseHTTPRequestHandler):
    """S3's answers."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        key, query = unquote(url.path).lstrip("/").partition("/")[2], parse_qs(url.query)
        if not key:
            self._list(query)
            return
        wait("get", GET_S, self.server)
        asked = self.headers.get("Range")
        body = self.server.body(key, int(asked.removeprefix("bytes=0-")) + 1 if asked else None)
        if body is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._answer(206 if asked else 200, body, ETag=etag(body))

    def _list(self, query: dict[str, list[str]]) -> None:
        wait("list", LIST_S, self.server)
        prefix, last = query["prefix"][0], query.get("continuation-token", [""])[0]
        found, folders, is_more = self.server.listing(prefix, last, query.get("delimiter", [""])[0])
        then = f"<NextContinuationToken>{escape(found[-1][0])}</NextContinuationToken>" if is_more else ""
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-30T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;e&quot;</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for key, size in found
        )
        common = "".join(f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in folders)
        body = f"<ListBucketResult><IsTruncated>{str(is_more).lower()}</IsTruncated>{then}{contents}{common}"
        self._answer(200, f"{body}</ListBucketResult>".encode())

    def do_PUT(self) -> None:
        wait("put", GET_S, self.server)
        key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]
        body = self._body()
        with self.server.lock:
            there = self.server.puts.get(key)
            is_met = self.headers.get("If-None-Match") != "*" or there is None
            wanted = self.headers.get("If-Match")
            if not is_met or (wanted is not None and (there is None or etag(there) != wanted)):
                self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                return
            self.server.puts[key] = body
        self._answer(200, b"", ETag=etag(body))

    def do_POST(self) -> None:
        wait("delete", LIST_S, self.server)
        self._body()
        self._answer(200, b"<DeleteResult></DeleteResult>")

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            size, _, rest = body.partition(b"\r\n")
            return rest[: int(size.partition(b";")[0], 16)]
        return body

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def wait(operation: str, median_s: float, server: Server) -> None:
    with server.lock:
        server.calls[operation] = server.calls.get(operation, 0) + 1
    if server.is_slow:
        time.sleep(median_s * (SLOW if random.random() < 0.01 else random.lognormvariate(0, 0.4)))


@cache
def etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def main() -> None:
    rate, form, end = float(sys.argv[1]), sys.argv[2], datetime.fromisoformat(sys.argv[3])
    server = Server(Month(rate, form, end))
    sys.stdout.write(f"{json.dumps({'port': server.server_port, 'end': instant(end)})}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
