"""`fiso restore`: an empty policies' database gets back the catalog that is published, under the number that it has.

Without that number whatever is applied next would begin at version 1, and be refused by keeper and environments alike:
versions only move up (docs/decisions/0022-signed-catalogs.md).
"""

from typing import TYPE_CHECKING

from fiso_cli.catalog.commands import author
from fiso_cli.errors import CommandError
from fiso_cli.options import StageOption
from fiso_cli.rendering import Output

if TYPE_CHECKING:
    from fiso.domain.catalog import Snapshot
    from fiso_cli.stage import Stage


def restore(stage: StageOption = "local") -> Output:
    """Fill an empty policies' database from the catalog that the stage's bucket has, as its keeper signed it.

    For a database that is lost: FISO_DATABASE_URL leads to the new one. History from before is not in the bucket. In a
    second region, with AWS_REGION set to it, that region's bucket is read.

    \b
    fiso restore --stage prod
    AWS_REGION=us-west-2 fiso restore --stage prod
    """
    from fiso.adapters.postgres.catalog import PostgresCatalogStore
    from fiso.domain.errors import WriteConflict
    from fiso_cli.migrations import runner
    from fiso_cli.stage import Stage

    chosen = Stage.named(stage)
    with chosen.wrapped_errors():
        snapshot = published(chosen)
        runner.migrate(chosen.connect)
        try:
            PostgresCatalogStore(chosen.connect).restore(snapshot, author=author())
        except WriteConflict as error:
            raise CommandError(f"{error}: only an empty database is filled") from error
    count = len(snapshot.functions)
    return Output(
        document={"version": snapshot.version, "functions": count},
        shown=[f"catalog version {snapshot.version} restored, {count} functions"],
    )


def published(stage: "Stage") -> "Snapshot":
    """The catalog in force, signed with the key of this region's keeper."""
    from fiso.adapters.aws.s3 import S3Snapshots
    from fiso.codecs.seal import CatalogSeals
    from fiso_cli.training import remote

    public = remote.public_key(stage.name, "catalog")
    seals = CatalogSeals(stage=stage.name, keys={public.id: public})
    snapshot = S3Snapshots(stage.client("s3"), stage.bucket, seals).current()
    if snapshot is None:
        raise CommandError(f"no catalog is published in {stage.bucket}: write one with `fiso apply`")
    return snapshot
