"""Bodies: an answer's bytes as something that a terminal or a JSON document can hold. Pure."""

import base64
import json

from fiso.codecs.typed import Json


def body_document(body: bytes) -> dict[str, object]:
    """`body` as JSON or text where it is that, else `body_base64`."""
    try:
        decoded = body.decode("utf-8")
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode("ascii")}
    try:
        document: Json = json.loads(decoded)
    except (ValueError, RecursionError):
        return {"body": decoded}
    return {"body": document}


def is_printable(body: bytes) -> bool:
    """Whether a terminal can show the bytes without being reprogrammed by them."""
    try:
        decoded = body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\n\r\t" for character in decoded)
