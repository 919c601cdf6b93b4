"""Snapshots beside S3's: with bad addresses marked, so that whatever was published no endpoint at one is a candidate;
and the copy, one item of the state table, for environments that start while S3 is unavailable.

`client` speaks DynamoDB with boto3's names (`aws_client.DynamoDBClient` or boto3's own). The item holds the snapshot's
own JSON, packed; its seal is verified as that of the published one (`codecs.seal`).
"""

import gzip
import logging
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fiso.adapters.aws.client import binary
from fiso.adapters.aws.errors import store_errors
from fiso.codecs import seal
from fiso.codecs.catalog import snapshot_from_json, snapshot_to_json
from fiso.codecs.seal import CatalogSeals
from fiso.domain.address import AddressRules, with_refusals
from fiso.domain.catalog import Snapshot
from fiso.domain.errors import InvalidCatalog, StoreUnavailable, WriteConflict
from fiso.domain.signed import SignedText
from fiso.domain.stage_rules import StageRules
from fiso.ports import Snapshots

logger = logging.getLogger(__name__)

KEY = {"function_name": {"S": "#catalog"}, "item": {"S": "snapshot"}}
"""No function's name begins with #."""
LARGEST_BYTES = 350_000
"""An item has at most 400 KB."""
LARGEST_UNSIGNED = 20_000_000
TRIES = 3


class DynamoDBSnapshotCopy:
    """`Snapshots` with one version: the newest that was given."""

    def __init__(self, client: Any, table: str, seals: CatalogSeals) -> None:
        self._client, self._table, self._seals = client, table, seals

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        """The copy; None when there is none, or it still has `unless_version`. `InvalidCatalog` when it is damaged, or
        not what was signed."""
        item = self._item()
        if item is None or item.get("version", {}).get("N") == str(unless_version):
            return None
        attested = self._seals.opened(_seal_in(item))
        try:
            body = _unpacked(binary(item["body"]["B"]), attested.size_bytes if attested else LARGEST_UNSIGNED)
        except (KeyError, TypeError, ValueError, OSError, EOFError, zlib.error) as error:
            raise InvalidCatalog(f"the catalog's copy is damaged: {type(error).__name__}: {error}") from error
        seal.check(attested, body)
        return snapshot_from_json(body)

    def attested(self) -> int | None:
        """The version in the copy's seal: a second witness, whom the bucket's writers cannot change."""
        item = self._item(ProjectionExpression="seal, key_id, signature")
        found = self._seals.opened(_seal_in(item)) if item else None
        return found.version if found is not None else None

    def publish(self, snapshot: Snapshot) -> None:
        """Keep the snapshot unless a newer one is attested. `StoreUnavailable` when it does not fit into an item."""
        body = snapshot_to_json(snapshot)
        packed = gzip.compress(body, mtime=0)
        if len(packed) > LARGEST_BYTES:
            raise StoreUnavailable(f"the catalog's copy would have {len(packed)} bytes, more than {LARGEST_BYTES}")
        sealed = self._seals.seal(snapshot.version, body)
        item = {
            **KEY,
            "version": {"N": str(snapshot.version)},
            "body": {"B": packed},
            "seal": {"S": sealed.text},
            "key_id": {"S": sealed.key_id},
            "signature": {"S": sealed.signature},
        }
        for _ in range(TRIES):
            condition = self._unless_newer(snapshot.version)
            if condition is None:
                return
            try:
                with store_errors("write the catalog's copy"):
                    self._client.put_item(TableName=self._table, Item=item, **condition)
            except WriteConflict:  # somebody else published meanwhile; what stands now decides
                continue
            return

    def _unless_newer(self, version: int) -> Mapping[str, Any] | None:
        """The condition that nothing has changed since a look at the copy; None when that is newer. What nobody trusted
        has signed attests nothing, whatever its number, so that it cannot keep the next version out."""
        names = {"#version": "version"}
        item = self._item(
            ProjectionExpression="#version, seal, key_id, signature",
            ExpressionAttributeNames=names,
            ConsistentRead=True,
        )
        if item is None:
            return {"ConditionExpression": "attribute_not_exists(function_name)"}
        try:
            attested = self._seals.opened(_seal_in(item))
        except InvalidCatalog as error:
            logger.error("the catalog's copy is written anew: %s", error)
            attested = None
        if attested is not None and attested.version > version:
            return None
        seen = item.get("version")
        if seen is None:
            return {"ConditionExpression": "attribute_not_exists(#version)", "ExpressionAttributeNames": names}
        return {
            "ConditionExpression": "#version = :seen",
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": {":seen": seen},
        }

    def _item(self, **fields: Any) -> Mapping[str, Any] | None:
        with store_errors("read the catalog's copy"):
            item = self._client.get_item(TableName=self._table, Key=KEY, **fields).get("Item")
            return None if item is None else {name: dict(value) for name, value in item.items()}


def _seal_in(item: Mapping[str, Any]) -> SignedText | None:
    return SignedText.among({name: value.get("S") for name, value in item.items()}, "seal")


def _unpacked(packed: bytes, most: int) -> bytes:
    """No more than so many bytes and one: what was signed has a size, and a few packed bytes can become gigabytes."""
    unpacking = zlib.decompressobj(wbits=31)
    body = unpacking.decompress(packed, most + 1)
    if len(body) <= most and not unpacking.eof:
        raise EOFError("it is cut short")
    return body


class CopiedSnapshots:
    """`Snapshots` for those who publish: the published ones, with a copy. A copy that cannot be kept stops nothing."""

    def __init__(self, published: Snapshots, copy: Snapshots) -> None:
        self._published, self._copy = published, copy

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        """What is published. A copy that was missed, or is damaged, is made again by the way."""
        published = self._published.current()
        if published is not None and not published.damaged and not self._is_copied(published):
            self._keep_copy(published)
        return None if published is None or published.version == unless_version else published

    def _is_copied(self, published: Snapshot) -> bool:
        try:
            copied = self._copy.current()
        except InvalidCatalog as error:
            logger.warning("the catalog's copy is made again: %s", error)
            return False
        except StoreUnavailable as error:
            logger.warning("the catalog's copy is not checked: %s", error)
            return True
        return copied is not None and copied.version >= published.version

    def attested(self) -> int | None:
        return self._published.attested()

    def publish(self, snapshot: Snapshot) -> None:
        self._published.publish(snapshot)
        self._keep_copy(snapshot)

    def _keep_copy(self, snapshot: Snapshot) -> None:
        try:
            self._copy.publish(snapshot)
        except StoreUnavailable as error:
            logger.warning("the catalog has no copy of version %d: %s", snapshot.version, error)


class KnownHosts:
    """Where endpoints may be: what the stage's settings allow, and the hosts that the catalog which was read last names
    (docs/decisions/0012-where-endpoints-may-be.md)."""

    def __init__(self, rules: AddressRules) -> None:
        self._own = self.rules = rules

    def read_of(self, snapshot: Snapshot) -> AddressRules:
        hosts = self._own.own_hosts | snapshot.rules.hosts
        if hosts != self.rules.own_hosts:
            try:
                self.rules = replace(self._own, own_hosts=hosts)
            except ValueError as error:  # written past the command line
                logger.error("the catalog's hosts are left out: %s", error)
                self.rules = self._own
        return self.rules


class CheckedSnapshots:
    """The port `Snapshots` over another one; `hosts` say where endpoints may be. `on_rules` is told the stage's rules
    of each that was read."""

    def __init__(
        self, snapshots: Snapshots, hosts: KnownHosts, on_rules: Callable[[StageRules], None] = lambda _: None
    ) -> None:
        self._snapshots, self._hosts, self._on_rules = snapshots, hosts, on_rules

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        """The current snapshot, with the endpoints marked that must not be called."""
        snapshot = self._snapshots.current(unless_version=unless_version)
        if snapshot is None:
            return None
        checked = with_refusals(snapshot, self._hosts.read_of(snapshot))
        self._on_rules(snapshot.rules)
        for name, damage in snapshot.damaged.items():
            logger.error("%s is left out of the catalog: %s", name, damage.reason)
        for entry in checked.functions.values():
            for endpoint, why in entry.refused.items():
                logger.error("endpoint %s of %s is never called: %s", endpoint, entry.name, why)
        return checked

    def attested(self) -> int | None:
        return self._snapshots.attested()

    def publish(self, snapshot: Snapshot) -> None:
        self._snapshots.publish(snapshot)
