"""`fiso setup | adopt`: what a stage needs before its deployment, in commands that may be repeated and interrupted."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from fiso_cli.errors import FAILED, BadInput, CommandError
from fiso_cli.local_stage import CHECKOUT
from fiso_cli.options import StageOption
from fiso_cli.rendering import Output, remark
from fiso_cli.stage import Stage

HostsOption = Annotated[
    str | None, typer.Option("--endpoint-hosts", help="Hosts of your own that endpoints may be at, beside the clouds'.")
]
FloorOption = Annotated[
    int | None, typer.Option("--catalog-floor", min=0, help="Below which no catalog's version is believed.")
]
OlderOption = Annotated[
    bool | None,
    typer.Option("--accept-older-forms/--refuse-older-forms", help="Catalogs and models of code before signatures."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing of a stage. `problem` says why it could not be made, and the way out."""

    name: str
    is_new: bool = False
    problem: str | None = None


def setup(
    *,
    stage: StageOption,
    endpoint_hosts: HostsOption = None,
    catalog_floor: FloorOption = None,
    accept_older_forms: OlderOption = None,
) -> Output:
    """Make what a stage on AWS needs before it is deployed, and say what is next. What is there stays as it is.

    The gateway's word, lease and login keys, signing keys with their public halves, the keeper's database role and
    secret (FISO_DATABASE_URL names the database), and the settings that the deployment reads from Parameter Store.
    Interrupted, it goes on where it stopped. It shows no secret.

    \b
    fiso setup --stage prod
    fiso setup --stage prod --endpoint-hosts 'api.example.com'
    """
    from fiso_cli import keeper_database
    from fiso_cli.setup.settings import checked_hosts

    where = Stage.named(stage)
    if where.local is not None:
        raise BadInput("the local stage needs no setup: `make run`, or `fiso local up` and `serverless deploy`")
    changed = {
        "endpoint-hosts": None if endpoint_hosts is None else checked_hosts(endpoint_hosts),
        "catalog-floor": None if catalog_floor is None else str(catalog_floor),
        "accept-older-forms": None if accept_older_forms is None else str(int(accept_older_forms)),
    }
    keeper_database.checked(where)
    steps = list(_steps(where, {name: value for name, value in changed.items() if value is not None}))
    return _told(where, steps)


def _steps(where: Stage, changed: dict[str, str]) -> Iterator[Step]:
    """In the order in which each may be interrupted: whatever the deployment needs comes before the database."""
    from fiso_cli.gateway_key import GatewayWords
    from fiso_cli.setup import settings, signing_keys
    from fiso_cli.stored_keys import lease_keys, login_keys

    known = settings.Settings(stage=where.name, client=where.client)
    with where.wrapped_errors():
        yield _noted("gateway's word", GatewayWords(known).ensure())
        for keys in (lease_keys(where), login_keys(where)):
            yield _noted(keys.parameter.rpartition("/")[2].replace("-", " "), " written," in keys.ensured())
        before = known.deployed()
        trusted = [known.ensure(name, before[name]) for name in ("catalog-keys", "model-keys") if name in before]
        yield _noted("signing keys", signing_keys.ensure(known) or any(trusted))
        for name, first in settings.FIRST.items():
            is_new = known.ensure(name, before.get(name, first))
            if name in changed and known.read(name) != changed[name]:
                known.write(name, changed[name])
                is_new = True
            yield _noted(f"setting {name}", is_new)
    yield _database(where)


def _noted(name: str, is_new: bool) -> Step:
    if is_new:
        remark(f"made: {name}")
    return Step(name=name, is_new=is_new)


def _database(where: Stage) -> Step:
    from fiso_cli import keeper_database

    try:
        return _noted("keeper's database", keeper_database.ensured_on_aws(where))
    except CommandError as error:
        return Step(name="keeper's database", problem=str(error))


def _told(where: Stage, steps: list[Step]) -> Output:
    problems = [f"{step.name}: {step.problem}" for step in steps if step.problem]
    new = [step.name for step in steps if step.is_new]
    following = [
        *([f"fiso setup --stage {where.name}"] if problems else []),
        f"node_modules/.bin/serverless deploy --stage {where.name}",
        f"fiso apply -f fiso.yaml --stage {where.name}",
    ]
    shown = [
        f"stage {where.name}, region {where.region}: {len(new)} made, {len(steps) - len(new) - len(problems)} there",
        *problems,
        "next: " + ", then ".join(following),
    ]
    document = {
        "stage": where.name,
        "region": where.region,
        "steps": [asdict(step) for step in steps],
        "next": following,
    }
    return Output(document=document, shown=shown, exit_code=FAILED if problems else 0)


def adopt(*, stage: StageOption) -> Output:
    """Make the stack of a removed stage around the table, bucket and logs that it left, so that it can be deployed.

    It reads what `fiso package --template` wrote. What the stage kept and nobody deleted is adopted with all it holds;
    what is missing the deployment makes. Stopped half-way, it goes on.

    \b
    fiso package --stage prod --template
    fiso adopt --stage prod
    """
    from fiso_cli.setup.adopt import adopted, template

    where = Stage.named(stage)
    if where.local is not None:
        raise BadInput("the local stage keeps nothing that would have to be adopted: `serverless deploy --stage local`")
    with where.wrapped_errors():
        body = template(CHECKOUT / "build" / where.name, where.account_id)
        found = adopted(where.client, where.stack_name, body)
    following = f"serverless deploy --stage {where.name}"
    shown = [f"adopted: {', '.join(found) or 'nothing, all of it stands in the stack'}", f"next: {following}"]
    return Output(document={"stack": where.stack_name, "adopted": found, "next": [following]}, shown=shown)
