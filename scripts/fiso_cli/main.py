"""The `fiso` command: its tree of commands. Add one to `COMMANDS`."""

from typing import Annotated, ClassVar

import typer

from fiso_cli.commands import HELP, CommandGroup, Commands, Group, Lazy

DEADLETTER = Group(
    "Batches that the stream gave up: why, and replay.",
    {
        "list": Lazy("fiso_cli.deadletter.commands:list_letters", "Every dead letter with what is wrong with it now."),
        "show": Lazy("fiso_cli.deadletter.commands:show", "One dead letter whole."),
        "replay": Lazy("fiso_cli.deadletter.commands:replay_letters", "Fold the records of dead letters, each once."),
    },
    more="For example: fiso deadletter list --stage prod",
)
ENDPOINT = Group(
    "The copies of one function: add, check, remove, warm.",
    {
        "add": Lazy("fiso_cli.catalog.own_functions:add", "Write a copy into the catalog's file."),
        "check": Lazy("fiso_cli.catalog.own_functions:check", "Whether the file's copies can be reached."),
        "remove": Lazy("fiso_cli.catalog.own_functions:remove", "Take a copy out of the catalog's file."),
        "warm": Lazy("fiso_cli.traffic.warm_command:warm", "Call each copy with your own input, so that it is known."),
    },
    more="For example: fiso endpoint add stats gcp:us-east4=https://stats-abc.a.run.app",
)
REPORT = Group(
    "What routing came to, from the log.",
    {
        "savings": Lazy("fiso_cli.reports.commands:savings", "What routing saved, net of its own cost."),
        "sla": Lazy("fiso_cli.reports.commands:sla", "What callers got: served, latency, the worst hour."),
        "cost": Lazy("fiso_cli.reports.commands:cost", "What calls cost, by function and cloud."),
    },
    more="For example: fiso report savings --since 7d --stage prod",
)
TARIFFS = Group(
    "The prices that FISO goes by: show, invoice, used, update.",
    {
        "show": Lazy("fiso_cli.tariffs.commands:show_tariffs", "What calls cost under each plan, how old, where from."),
        "invoice": Lazy("fiso_cli.tariffs.commands:invoice", "What a month of calls comes to, line by line."),
        "used": Lazy("fiso_cli.tariffs.used:used", "What all functions used of a month, and how to declare it."),
        "update": Lazy("fiso_cli.tariffs.commands:update", "New prices from the vendors' own price files."),
    },
    more="For example: fiso tariffs update --dry-run",
)
POLICY = Group(
    "One function's policy: show, pin, history, rollback.",
    {
        "show": Lazy("fiso_cli.catalog.policy_commands:show", "The endpoints and the policy in force."),
        "pin": Lazy("fiso_cli.catalog.policy_commands:pin", "The kill switch: every request to one endpoint."),
        "unpin": Lazy("fiso_cli.catalog.policy_commands:unpin", "Lift a pin: back to the mode from before it."),
        "mode": Lazy("fiso_cli.catalog.policy_commands:mode", "Set the mode: route, observe or pin:<endpoint>."),
        "history": Lazy("fiso_cli.catalog.policy_commands:history", "The versions at which it changed, and by whom."),
        "diff": Lazy("fiso_cli.catalog.policy_commands:diff", "What changed between two versions."),
        "rollback": Lazy("fiso_cli.catalog.policy_commands:rollback", "The policy of an earlier version again."),
    },
    more="For example: fiso policy pin compress aws-use1 --reason 'gcp is slow' --for 1h",
)
MODEL = Group(
    "A stage's models: list, show, compare, export, promote, rollback, pin, serve, ask.",
    {
        "list": Lazy("fiso_cli.training.registry:list_models", "Candidates, the champion, and those before it."),
        "show": Lazy("fiso_cli.training.registry:show", "One model's card: rows, lineage, errors."),
        "compare": Lazy("fiso_cli.training.registry:compare", "Two models' errors side by side."),
        "export": Lazy("fiso_cli.training.registry:export", "One version as MLflow keeps models."),
        "promote": Lazy("fiso_cli.training.registry:promote", "Make one the champion."),
        "rollback": Lazy("fiso_cli.training.registry:rollback", "The model before the champion again."),
        "pin": Lazy("fiso_cli.training.registry:pin", "Keep one, whatever retraining finds."),
        "serve": Lazy("fiso_cli.training.serve:serve", "Behind an endpoint of SageMaker or Vertex AI, for batches."),
        "ask": Lazy("fiso_cli.training.serve:ask", "What a model behind an endpoint says of rows."),
    },
    more="For example: fiso model list --stage prod",
)
EXPERIMENT = Group(
    "A function's routing against always calling home, in blocks of time: start, status, stop.",
    {
        "start": Lazy("fiso_cli.reports.experiment:start", "Call home in a share of the blocks."),
        "status": Lazy("fiso_cli.reports.experiment:status", "Each arm's cost, latency, failures; a decision."),
        "stop": Lazy("fiso_cli.reports.experiment:stop", "Route always again."),
    },
    more="For example: fiso experiment status compress --stage prod",
)
DEPLOY = Group(
    "Functions to a cloud, from a folder to an address: aws-function, azure, gcp; and what watches them there.",
    {
        "aws-function": Lazy("fiso_cli.clouds.aws.command:aws_function", "To AWS, as Lambda functions."),
        "azure": Lazy("fiso_cli.clouds.azure.command:azure", "To Azure Functions, Flex Consumption."),
        "gcp": Lazy("fiso_cli.clouds.google.command:gcp", "To Google, as Cloud Run functions."),
        "monitoring": Lazy("fiso_cli.clouds.monitoring:monitoring", "What watches a cloud's copies, in its own terms."),
        "everywhere": Lazy("fiso_cli.clouds.everywhere:everywhere", "To several clouds, with trust and catalog."),
    },
    more="For example: fiso deploy azure compress=functions/sample_azure --stage prod",
)
DATABASE = Group(
    "The catalog's PostgreSQL: create, migrate, copy, verify, cutover.",
    {
        "create": Lazy("fiso_cli.clouds.databases.command:create", "A managed one, on AWS, Azure or Google."),
        "migrate": Lazy("fiso_cli.database.commands:migrate", "Bring it to this version's tables."),
        "copy": Lazy("fiso_cli.database.commands:copy", "Copy it to another server, while changes go on."),
        "verify": Lazy("fiso_cli.database.commands:verify", "Compare every table of both."),
        "cutover": Lazy("fiso_cli.database.commands:cutover", "Make the copy the one in force, without a lost change."),
    },
    more="For example: fiso db copy --stage prod",
)
DRILL = Group(
    "A bad day on this machine: what was promised, and what came.",
    {
        "region-loss": Lazy("localcloud.drill.command:region_loss", "A region is lost under traffic: RPO, RTO."),
        "aws-loss": Lazy("localcloud.drill.command:aws_loss", "All of AWS is lost: a front door elsewhere serves on."),
    },
    more="For example: fiso drill aws-loss --minutes 1",
)
LOCAL = Group(
    "The local cloud: up, down, status, logs, reset, faults.",
    {
        "up": Lazy("localcloud.commands:up", "Bring the local cloud up and return."),
        "down": Lazy("localcloud.commands:down", "Stop it; tables and policies are kept."),
        "status": Lazy("localcloud.commands:status", "Every component; exits with 3 unless all are healthy."),
        "logs": Lazy("localcloud.commands:show_logs", "What the components logged."),
        "reset": Lazy("localcloud.commands:reset", "Stop it and delete all it holds."),
        "kill": Lazy("localcloud.commands:kill", "Make a provider's functions unreachable."),
        "heal": Lazy("localcloud.commands:heal", "End what kill or slow did to a provider."),
        "slow": Lazy("localcloud.commands:slow", "Make a provider's functions answer slower."),
    },
    more="It is on this machine's loopback only, without Docker or accounts. FISO_LOCAL_DIR names its folder (.local "
    "in the checkout otherwise), FISO_LOCAL_PORT its first port (4566 otherwise). For example: fiso local up",
)
TRUST = Group(
    "Other clouds believe AWS's word on who FISO is: azure, gcp.",
    {
        "azure": Lazy("fiso_cli.clouds.trust.command:azure", "Entra believes it: applications, no secret."),
        "gcp": Lazy("fiso_cli.clouds.trust.command:gcp", "Google believes it: workload identity, no key."),
    },
    more="For example: fiso trust gcp --stage prod --project my-project",
)
COMMANDS: Commands = {
    "demo": Lazy("localcloud.demo.command:demo", "Boot the local cloud, deploy, route a batch, serve."),
    "init": Lazy("fiso_cli.catalog.own_functions:init", "Write a fiso.yaml for a function of your own."),
    "invoke": Lazy("fiso_cli.traffic.commands:invoke", "Send requests to a function, one or many."),
    "explain": Lazy("fiso_cli.traffic.commands:explain", "Show a decision whole; nothing is invoked."),
    "endpoints": Lazy("fiso_cli.traffic.commands:endpoints", "Every endpoint with its state."),
    "endpoint": ENDPOINT,
    "lease": Lazy("fiso_cli.traffic.commands:lease", "The lease a client would get; nothing is invoked."),
    "compare": Lazy("fiso_cli.traffic.compare_command:compare", "The same requests to all copies: who differs, where."),
    "diagnose": Lazy("fiso_cli.traffic.diagnose:diagnose", "Whose fault trouble is, since when, and what to do."),
    "serve": Lazy("fiso_cli.traffic.serve_command:serve", "FISO's API as a server: what a container runs."),
    "smoke": Lazy("fiso_cli.traffic.smoke_command:smoke", "Whether a stage that was just deployed answers."),
    "doctor": Lazy("fiso_cli.doctor.command:doctor", "What is wrong with a stage, and what mends it."),
    "tail": Lazy("fiso_cli.traffic.commands:tail", "Invocations as they happen, with why."),
    "console": Lazy("fiso_cli.traffic.console_command:console", "A stage's console in a browser, signed by you."),
    "setup": Lazy("fiso_cli.setup.commands:setup", "Make what a stage on AWS needs before it is deployed."),
    "adopt": Lazy("fiso_cli.setup.commands:adopt", "Make a removed stage's stack around what it left."),
    "trust": TRUST,
    "gateway-key": Lazy("fiso_cli.gateway_key:gateway_key", "Make or rotate the word that the gateway is known by."),
    "lease-key": Lazy("fiso_cli.stored_keys:lease_key", "Make or rotate the key that signs leases."),
    "login-key": Lazy("fiso_cli.stored_keys:login_key", "Make or rotate the key of console sessions."),
    "token": Lazy("localcloud.issuer.command:token", "A token of the local stage's issuer."),
    "apply": Lazy("fiso_cli.catalog.commands:apply", "Write a catalog file's changes and publish them."),
    "check": Lazy("fiso_cli.catalog.commands:check", "Check a catalog file offline, with line numbers."),
    "export": Lazy("fiso_cli.catalog.commands:export", "Print what is in force as a catalog file."),
    "restore": Lazy("fiso_cli.catalog.restore:restore", "Fill a lost database from the published catalog."),
    "completion": Lazy("fiso_cli.completion:completion", "What completes fiso by TAB: bash, zsh, fish."),
    "schema": Lazy("fiso_cli.catalog.commands:print_schema", "Print the JSON Schema of catalog files."),
    "alarms": Lazy("fiso_cli.catalog.alarms_command:alarms", "Burn-rate alarms of functions with objectives."),
    "policy": POLICY,
    "db": DATABASE,
    "train": Lazy("fiso_cli.training.commands:train", "Train the packaged model."),
    "retrain": Lazy("fiso_cli.training.commands:retrain", "Run a stage's retrainer now."),
    "model": MODEL,
    "experiment": EXPERIMENT,
    "model-key": Lazy("fiso_cli.training.commands:model_key", "The key that signs a stage's models."),
    "catalog-key": Lazy("fiso_cli.training.commands:catalog_key", "The key that signs a stage's catalog."),
    "keeper-database": Lazy("fiso_cli.keeper_database:keeper_database", "The keeper's own database role and secret."),
    "package": Lazy("fiso_cli.packaging.commands:package", "Build a stage's deployment packages."),
    "deploy": DEPLOY,
    "deploy-diff": Lazy("fiso_cli.deploy_diff.command:deploy_diff", "What a deployment will change, in words."),
    "replay": Lazy("fiso_cli.worlds.commands:replay", "Replay measured rounds beside the rules to beat."),
    "simulate": Lazy("fiso_cli.worlds.commands:simulate", "Simulate clouds that react to the router."),
    "what-if": Lazy("fiso_cli.what_if.commands:what_if", "What a new policy would have done, from the log."),
    "cost": Lazy("fiso_cli.cost.commands:cost", "What FISO itself costs on AWS, part by part."),
    "report": REPORT,
    "tariffs": TARIFFS,
    "deadletter": DEADLETTER,
    "drill": DRILL,
    "local": LOCAL,
}


class RootGroup(CommandGroup):
    """The tree."""

    entries: ClassVar[Commands] = COMMANDS


app = typer.Typer(
    cls=RootGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # half the time of the help would go into importing what draws boxes around it
    context_settings=HELP,
)


def _version(is_asked: bool) -> None:
    if is_asked:
        from fiso import __version__

        typer.echo(f"fiso {__version__}")
        raise typer.Exit


@app.callback()
def fiso(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A serverless router over AWS Lambda, Azure Functions and Google Cloud Functions that learns per request.

    Start with `fiso local up`, or with `make run`, which also deploys and sends a first batch. Every command takes
    --json. Exit codes: 0 done, 1 failed, 2 bad usage; where a command has others, its help says which.
    """
