"""Snapshots beside S3's: with bad addresses marked, so that whatever was published no endpoint at one is a candidate;
and the copy, one item of the state table, for environments that start while S3 is unavailable.

`client` speaks DynamoDB with boto3's names (`aws_client.DynamoDBClient` or boto3's own). The item holds the snapshot's
own JSON, packed; its checksum is verified as that of the published one.
"""

import gzip
import logging
import zlib
from typing import Any

from fiso.adapters.aws.client import binary
from fiso.adapters.aws.errors import store_errors
from fiso.codecs.catalog import snapshot_from_json, snapshot_to_json
from fiso.domain.address import AddressRules, with_refusals
from fiso.domain.catalog import Snapshot
from fiso.domain.errors import InvalidCatalog, StoreUnavailable, WriteConflict
from fiso.ports import Snapshots

logger = logging.getLogger(__name__)

KEY = {"function_name": {"S": "#catalog"}, "item": {"S": "snapshot"}}
"""No function's name begins with #."""
LARGEST_BYTES = 350_000
"""An item has at most 400 KB."""


class DynamoDBSnapshotCopy:
    """`Snapshots` with one version: the newest that was given."""

    def __init__(self, client: Any, table: str) -> None:
        self._client, self._table = client, table

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        """The copy; None when there is none, or it still has `unless_version`. `InvalidCatalog` when it is damaged."""
        with store_errors("read the catalog's copy"):
            item = self._client.get_item(TableName=self._table, Key=KEY).get("Item")
            if item is None or item.get("version", {}).get("N") == str(unless_version):
                return None
        try:
            packed = item["body"]["B"]
            return snapshot_from_json(gzip.decompress(binary(packed)))
        except (KeyError, TypeError, ValueError, OSError, EOFError, zlib.error) as error:
            raise InvalidCatalog(f"the catalog's copy is damaged: {type(error).__name__}: {error}") from error

    def publish(self, snapshot: Snapshot) -> None:
        """Keep the snapshot unless a newer one is kept. `StoreUnavailable` for one that does not fit into an item."""
        body = gzip.compress(snapshot_to_json(snapshot), mtime=0)
        if len(body) > LARGEST_BYTES:
            raise StoreUnavailable(f"the catalog's copy would have {len(body)} bytes, more than {LARGEST_BYTES}")
        try:
            with store_errors("write the catalog's copy"):
                self._client.put_item(
                    TableName=self._table,
                    Item={**KEY, "version": {"N": str(snapshot.version)}, "body": {"B": body}},
                    ConditionExpression="attribute_not_exists(function_name) OR #version <= :version",
                    ExpressionAttributeNames={"#version": "version"},
                    ExpressionAttributeValues={":version": {"N": str(snapshot.version)}},
                )
        except WriteConflict:
            return


class CopiedSnapshots:
    """`Snapshots` for those who publish: the published ones, with a copy. A copy that cannot be kept stops nothing."""

    def __init__(self, published: Snapshots, copy: Snapshots) -> None:
        self._published, self._copy = published, copy

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        """What both have: the older of the two, so that a copy that was missed is published again."""
        published = self._published.current()
        if published is None:
            return None
        try:
            copied = self._copy.current()
        except (StoreUnavailable, InvalidCatalog) as error:
            logger.warning("the catalog's copy is not checked: %s", error)
            copied = None if isinstance(error, InvalidCatalog) else published
        if copied is None:
            return None
        older = min(published, copied, key=lambda snapshot: snapshot.version)
        return None if older.version == unless_version else older

    def publish(self, snapshot: Snapshot) -> None:
        self._published.publish(snapshot)
        try:
            self._copy.publish(snapshot)
        except StoreUnavailable as error:
            logger.warning("the catalog has no copy of version %d: %s", snapshot.version, error)


logger = logging.getLogger(__name__)


class CheckedSnapshots:
    """The port `Snapshots` over another one; `rules` are the stage's own."""

    def __init__(self, snapshots: Snapshots, rules: AddressRules) -> None:
        self._snapshots, self._rules = snapshots, rules

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        """The current snapshot, with the endpoints marked that must not be called."""
        snapshot = self._snapshots.current(unless_version=unless_version)
        if snapshot is None:
            return None
        checked = with_refusals(snapshot, self._rules)
        for entry in checked.functions.values():
            for endpoint, why in entry.refused.items():
                logger.error("endpoint %s of %s is never called: %s", endpoint, entry.name, why)
        return checked

    def publish(self, snapshot: Snapshot) -> None:
        self._snapshots.publish(snapshot)
