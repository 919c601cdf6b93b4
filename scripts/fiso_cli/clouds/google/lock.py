"""Lock: an object in the stage's bucket, written under the condition of its generation."""

from fiso_cli.clouds.google.client import Google, Refused
from fiso_cli.clouds.lock import Conflict, Held, Holder

NAME = "lock"


class BucketLock:
    """The lock of one stage. Its holder is in the object's metadata, so that one request reads it."""

    def __init__(self, google: Google, bucket: str) -> None:
        self._google, self._bucket = google.another(), bucket  # renewed in a thread of its own

    def close(self) -> None:
        """End its connections."""
        self._google.close()

    def read(self) -> Held | None:
        """None when nobody holds it."""
        found = self._google.find("storage", lambda api: api.objects().get(bucket=self._bucket, object=NAME))
        if found is None:
            return None
        return Held(Holder.read(found.get("metadata", {}).get("holder", "")), found["generation"])

    def write(self, holder: Holder, over: str | None) -> str:
        """The new generation. Raises `Conflict`."""
        try:
            made = self._google.upload(self._bucket, NAME, b"", over=over or "0", holder=holder.written())
        except Refused as refused:
            found = self.read() if refused.code == 412 else None
            if found is None or found.holder is None or found.holder.written() != holder.written():
                raise _conflict(refused) from refused
            return found.version  # written by the first try of this very request, whose answer was lost
        return str(made["generation"])

    def delete(self, version: str) -> None:
        """Raises `Conflict` where another has it now."""
        try:
            self._google.call(
                "storage",
                lambda api: api.objects().delete(bucket=self._bucket, object=NAME, ifGenerationMatch=version),
            )
        except Refused as refused:
            raise _conflict(refused) from refused


def _conflict(refused: Refused) -> Exception:
    return Conflict() if refused.code in (404, 412) else refused
