"""Cold reports: how each cloud says that it had to start an environment, said for an emulated start too.

Without it an emulated cold start would be logged, and learned from, as a slow warm call.
"""

import base64
import binascii

from multidict import CIMultiDict

LOG_RESULT = "X-Amz-Log-Result"
COLD = "x-fiso-cold"
REPORT = b"REPORT "


def say_cold(headers: CIMultiDict[str], init_ms: float) -> None:
    """Change an answer's headers: Lambda's REPORT line gets an Init Duration, a function's own header says 1."""
    tail = headers.get(LOG_RESULT)
    if tail is None:
        headers[COLD] = "1"
        return
    try:
        lines = base64.b64decode(tail, validate=True).split(b"\n")
    except binascii.Error:
        return
    said = [_with_init(line, init_ms) if line.startswith(REPORT) else line for line in lines]
    headers[LOG_RESULT] = base64.b64encode(b"\n".join(said)).decode("ascii")


def _with_init(line: bytes, init_ms: float) -> bytes:
    if b"Init Duration" in line:
        return line
    return line.rstrip() + f"\tInit Duration: {init_ms:.2f} ms\t".encode()
