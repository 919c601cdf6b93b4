"""The local machine: the demo's interface to the world, over the local cloud and the other commands' own code."""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fiso.domain.model import RetrainingRun
from fiso_cli.catalog import change, declaration
from fiso_cli.errors import CommandError
from fiso_cli.migrations import runner
from fiso_cli.stage import Stage
from fiso_cli.traffic import leases
from fiso_cli.traffic.gateway import Gateway
from fiso_cli.training import keys, prior, remote
from localcloud import faults
from localcloud.commands import supervisor_of
from localcloud.components import Options
from localcloud.demo.counting import Counts
from localcloud.demo.deployment import Deployment
from localcloud.layout import LocalCloud
from localcloud.supervisor import Supervisor

CATALOG = Path(__file__).with_name("fiso.yaml")
AUTHOR = "fiso demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMachine:
    """The cloud on this machine."""

    stage: Stage
    counts: Counts
    options: Options = Options()  # noqa: RUF009 - a frozen value

    @property
    def cloud(self) -> LocalCloud:
        """Where its files are and its ports."""
        return LocalCloud.from_environ(self.stage.environ)

    @property
    def run_file(self) -> Path:
        """Where the run's document goes."""
        return self.cloud.state / "run.json"

    def boot(self) -> str:
        """What is missing of the local cloud."""
        started = self._supervisor().up()
        return f"{len(started)} components started" if started else "everything was up already"

    def shut_down(self) -> None:
        """Stop everything, whoever started it."""
        self._supervisor().down()

    def kill(self, provider: str) -> None:
        """Refuse every connection to the provider's functions."""
        faults.kill(self.cloud, provider)

    def heal(self, provider: str) -> None:
        """End it."""
        faults.heal(self.cloud, provider)

    def train(self) -> str:
        """The packaged prior, unless a model is there already."""
        folder = self.cloud.root / "ml_artifacts"
        if (folder / "champion.json").exists():
            return "already trained"
        with redirect_stdout(io.StringIO()):  # its tables are for `fiso train`
            prior.train("boosting", rows=10_000, out=folder)
        return "trained on the synthetic set"

    def deploy(self) -> str:
        """Plain `serverless deploy`."""
        environment = self.cloud.client_environment() | {"FISO_DATABASE_URL": self.cloud.database_url}
        environment |= keys.local_variables(self.cloud)
        log = self.cloud.log_dir / "deploy.log"
        Deployment(root=self.cloud.root, log=log, environment=environment, stage=self.stage.name).run()
        leases.ensured(self.stage)
        return f"stage {self.stage.name}, log in {log}"

    def apply(self) -> str:
        """The demo catalog, as `fiso apply` does it."""
        declared = declaration.read(CATALOG, declaration.Setting.of(self.stage))
        with self.stage.explained():
            runner.migrate(self.stage.connect)
            store = self.stage.catalog_store()
            planned = change.plan(store, declared.entries)
            written = change.execute(planned, store, self.stage.snapshots(), author=AUTHOR, now=datetime.now(UTC))
        if written.unpublished is not None:
            raise CommandError(f"catalog version {written.version} is stored, not published: {written.unpublished}")
        return f"{len(declared.entries)} functions, version {written.version}"

    def retrain(self) -> str:
        """One retraining on demand, as `fiso retrain` does it."""
        run = remote.retrain(self.stage.name)
        return f"{'promoted' if run['promoted'] else 'refused'}: {run['reason']}"

    def gateway(self) -> Gateway:
        """The deployed API."""
        return Gateway(url=self.stage.api_url)

    def had_champion(self) -> bool:
        """Whether a model was ever published here."""
        return self.counts.has_champion()

    def logged_since(self, moment: datetime) -> int:
        """Records in the log table."""
        return self.counts.logged_since(moment)

    def folded(self) -> int:
        """Records folded, by the state table."""
        return self.counts.folded()

    def runs_since(self, moment: datetime) -> Sequence[RetrainingRun]:
        """Retraining runs."""
        return self.counts.runs_since(moment)

    def _supervisor(self) -> Supervisor:
        return supervisor_of(self.cloud, self.options)
