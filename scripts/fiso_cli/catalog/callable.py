"""Whether a stage may call the functions on AWS that a file declares: what the first requests would else find out."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from fiso_cli.errors import CommandError
from fiso_cli.stage import Stage

if TYPE_CHECKING:
    from fiso.domain.endpoint import Endpoint

MOST_ASKED = 40
"""Functions that are asked for, of a file with more."""


def doubts(stage: Stage, endpoints: "Iterable[Endpoint]") -> Iterator[str]:
    """A line for each that cannot be called, with the way out, and one for what could not be asked. Runs no function.

    Whether a function is there is tried in the operator's own right (a dry-run Invoke), whether the orchestrator may
    invoke it is simulated by IAM for the orchestrator's role.
    """
    from fiso_cli.doctor.site import Site, code_of, is_missing
    from fiso_cli.doctor.targets import on_aws, target

    asked = on_aws(endpoints)
    if stage.is_local or not asked:
        return
    site, name = Site(stage=stage), stage.function_name("orchestrator")
    try:
        role = str(site.client("lambda").get_function_configuration(FunctionName=name)["Role"])
    except ClientError as error:
        why = "is not deployed yet" if is_missing(error) else f"does not show its role to you ({code_of(error)})"
        yield f"{name} {why}: nobody can tell yet which functions it may invoke"
        return
    except (BotoCoreError, CommandError) as error:
        yield f"no function on AWS was tried: {str(error).splitlines()[0]}"
        return
    for endpoint in asked[:MOST_ASKED]:
        try:
            yield from (f"{found.what}, so {found.why}: {found.fix}" for found in target(site, role, endpoint))
        except ClientError as error:
            what = f"whether the orchestrator may invoke {endpoint.id} was not told to you"
            yield f"{what} ({code_of(error)}; it takes iam:SimulatePrincipalPolicy)"
        except BotoCoreError as error:
            yield f"{endpoint.id} was not tried: {str(error).splitlines()[0]}"
    if len(asked) > MOST_ASKED:
        yield f"{len(asked) - MOST_ASKED} more functions on AWS were not tried: `fiso doctor --stage {stage.name}`"
