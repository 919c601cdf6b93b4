"""Assets: the console's own style sheet, script and icon, read once and served with their digest as version."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from flask import Response, request

from fiso.domain.errors import UnknownPath

TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
A_YEAR = "public, max-age=31536000, immutable"
FIVE_MINUTES = "public, max-age=300"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file in memory."""

    content: bytes
    content_type: str
    digest: str


class Assets:
    """The files of one folder, by name. Nothing outside it can be named."""

    def __init__(self, by_name: dict[str, Asset]) -> None:
        self._by_name = by_name

    @classmethod
    def read(cls, folder: Path) -> "Assets":
        """Read every file of a known type."""
        paths = [path for path in sorted(folder.iterdir()) if path.suffix in TYPES]
        return cls({path.name: _asset(path) for path in paths})

    def link(self, name: str) -> str:
        """The address of an asset, relative to the site's root. A new content has a new address."""
        return f"console/static/{name}?v={self._by_name[name].digest}"

    def serve(self, name: str) -> Response:
        """The file; kept for a year by browsers when asked for by its version."""
        asset = self._by_name.get(name)
        if asset is None:
            raise UnknownPath(f"no file {name!r}")
        response = Response(asset.content, content_type=asset.content_type)
        response.headers["Cache-Control"] = A_YEAR if request.args.get("v") == asset.digest else FIVE_MINUTES
        response.set_etag(asset.digest)
        response.make_conditional(request)
        return response


def _asset(path: Path) -> Asset:
    content = path.read_bytes()
    return Asset(content=content, content_type=TYPES[path.suffix], digest=sha256(content).hexdigest()[:16])
