"""Assets: the console's own style sheet, script and icon, read once and served with their digest as version."""

from hashlib import sha256
from pathlib import Path

from flask import Response, request

from fiso.domain.errors import UnknownPath

TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
A_YEAR = "public, max-age=31536000, immutable"
FIVE_MINUTES = "public, max-age=300"


class Assets:
    """The files of one folder, by name. Nothing outside it can be named."""

    def __init__(self, folder: Path) -> None:
        # in memory: serverless_wsgi never closes a file that Flask would send
        self._contents = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in TYPES}
        self._digests = {name: sha256(content).hexdigest()[:16] for name, content in self._contents.items()}

    def link(self, name: str) -> str:
        """The address of an asset, relative to the site's root. A new content has a new address."""
        return f"console/static/{name}?v={self._digests[name]}"

    def serve(self, name: str) -> Response:
        """The file; kept for a year by browsers when asked for by its version."""
        if name not in self._contents:
            raise UnknownPath(f"no file {name!r}")
        digest = self._digests[name]
        response = Response(self._contents[name], content_type=TYPES[Path(name).suffix])
        response.headers["Cache-Control"] = A_YEAR if request.args.get("v") == digest else FIVE_MINUTES
        response.set_etag(digest)
        response.make_conditional(request)
        return response
