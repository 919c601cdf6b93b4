"""The machine: a local cloud with the stage `local` on it, prepared, disturbed and counted. The tests use it, too."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from fiso_cli import gateway_key, keeper_database
from fiso_cli.catalog import change, declaration
from fiso_cli.counting import Counts
from fiso_cli.errors import CommandError
from fiso_cli.migrations import runner
from fiso_cli.packaging.template import alone
from fiso_cli.stage import Stage
from fiso_cli.stored_keys import lease_keys
from fiso_cli.training import keys, prior, remote
from localcloud import cloud, private
from localcloud.cloud import Lease
from localcloud.demo import plan
from localcloud.layout import LocalCloud
from localcloud.parts import Options

STAGE = "local"
CATALOG = Path(__file__).with_name("fiso.yaml")
AUTHOR = "fiso demo"
TAIL_LINES = 25
DEFAULTS = Options()


@dataclass(kw_only=True)
class Machine:
    """Each step answers with one line about what came of it."""

    cloud: LocalCloud
    stage: Stage
    counts: Counts
    options: Options = DEFAULTS
    lease: Lease | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None, options: Options = DEFAULTS) -> Self:
        """The one that the environment names. Starts nothing."""
        stage = Stage.named(STAGE, environ)
        counts = Counts(stage=stage, functions=plan.functions())
        return cls(cloud=LocalCloud.from_environ(environ), stage=stage, counts=counts, options=options)

    def boot(self) -> str:
        """Start the cloud; it lives as long as this process."""
        self.lease = cloud.start(self.cloud, self.options)
        return f"{len(cloud.status(self.cloud))} components started"

    def shut_down(self) -> None:
        """Stop what was started here."""
        if self.lease is not None:
            self.lease.end()

    def train(self) -> str:
        """The packaged prior, unless a model is there already."""
        folder = self.cloud.root / "ml_artifacts"
        if (folder / "champion.json").exists():
            return "already trained"
        prior.train("hist_gradient_boosting", rows=10_000, out=folder)
        return "trained on the synthetic set"

    def deploy(self, **variables: str) -> str:
        """Plain `serverless deploy`, with further variables."""
        environment = self.cloud.client_environment() | {
            "FISO_KEEPER_DATABASE_URL": keeper_database.ensured(self.stage)
        }
        environment |= keys.local_variables(self.cloud) | gateway_key.local_variables(self.cloud.access_key) | variables
        log = serverless(self.cloud, ("deploy", "--stage", STAGE), environment)
        lease_keys(self.stage).ensured()
        return f"stage {STAGE}, log in {log}"

    def apply(self, catalog: Path = CATALOG) -> str:
        """A catalog, as `fiso apply` does it."""
        declared = declaration.read(catalog, declaration.Setting.of(self.stage))
        with self.stage.wrapped_errors():
            runner.migrate(self.stage.connect)
            store = self.stage.catalog_store()
            planned = change.plan(store, declared.entries, datetime.now(UTC), declared.rules)
            written = change.execute(planned, store, self.stage.publish, author=AUTHOR)
        if written.unpublished is not None:
            raise CommandError(f"catalog version {written.version} is stored, not published: {written.unpublished}")
        return f"{len(declared.entries)} functions, version {written.version}"

    def retrain(self) -> str:
        """One retraining on demand, as `fiso retrain` does it."""
        run = remote.retrain(STAGE)
        return f"{'promoted' if run['promoted'] else 'refused'}: {run['reason']}"


def serverless(cloud: LocalCloud, words: Sequence[str], environment: Mapping[str, str]) -> Path:
    """Run the `serverless` command; its log. `CommandError` with the log's end when it fails or is not installed."""
    command = [str(cloud.root / "node_modules" / ".bin" / "serverless"), *words]
    file = cloud.log_dir / f"{words[0]}.log"
    with alone(cloud.root), private.opened(file, "wb") as log:
        try:
            done = subprocess.run(
                command,
                cwd=cloud.root,
                env=dict(environment),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                umask=0o077,  # its packages and templates hold the stage's keys
            )
        except FileNotFoundError as error:
            raise CommandError(f"{command[0]} is not installed: run `make setup`") from error
    if done.returncode != 0:
        said = [line.rstrip() for line in file.read_text(errors="replace").splitlines() if line.strip()]
        end = "\n".join(said[-TAIL_LINES:])
        raise CommandError(f"serverless {words[0]} failed (exit {done.returncode}); the end of {file}:\n{end}")
    return file
