"""`fiso model serve | ask`: a model behind `fiso-prediction-endpoint` of a training platform, and rows put to it, for
batches and what-if. No request's path leads there (docs/learning.md)."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from fiso_cli.clouds.plan import Step, agreed, apply, going, look_at, refuse_foreign, remove, shown, told, words_of
from fiso_cli.commands import JsonOption
from fiso_cli.errors import CommandError
from fiso_cli.options import StageOption, YesOption
from fiso_cli.rendering import Output, remark, show
from fiso_cli.stage import Stage

REGION, MACHINE, MOST = "us-central1", "n1-standard-2", 3
MOST_ROWS = 1_000
"""In one question: Vertex AI takes 1.5 MB."""
OnOption = Annotated[str, typer.Option(help="sagemaker or vertex.")]
RoleOption = Annotated[str, typer.Option(help="sagemaker: the ARN of the role that reads the model.")]
ProjectOption = Annotated[str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT", help="vertex: Google's project.")]
BucketOption = Annotated[str, typer.Option(help="vertex: a bucket in that region.")]
RegionOption = Annotated[str, typer.Option(help="vertex: where it runs.")]


def serve(  # noqa: PLR0913 - a command's options
    version: Annotated[str, typer.Argument(help="A version, as `fiso model list` names it; the champion.")] = "",
    *,
    on: OnOption,
    image: Annotated[str, typer.Option(help="The trainer's image (deploy/training.Dockerfile).")],
    stage: StageOption = "local",
    role: RoleOption = "",
    project: ProjectOption = "",
    bucket: BucketOption = "",
    region: RegionOption = REGION,
    machine: Annotated[str, typer.Option(help="vertex: each replica's kind.")] = MACHINE,
    most: Annotated[int, typer.Option(min=1, max=20, help="Replicas, or answers at once, at most.")] = MOST,
    off: Annotated[bool, typer.Option("--off", help="Take it away again.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Show the plan, make nothing.")] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> Output:
    """Put a model behind an endpoint of a training platform, for batches and what-if; interrupted, run it again.

    Vertex AI keeps at least one machine, paid by the hour, until --off. SageMaker's endpoint is serverless.

    \b
    fiso model serve --on vertex --stage prod --image I --project P --bucket B
    fiso model serve --on sagemaker --stage prod --image IMAGE --role ARN
    """
    from fiso_cli.training import endpoints  # scikit-learn takes a second to import

    where = Stage.named(stage)
    endpoint = endpoints.endpoint_of(on, where, image=image, role=role, project=project, bucket=bucket, region=region)
    with closing(endpoints.sized(endpoint, machine, most)) as endpoint:
        with where.wrapped_errors():
            files = endpoints.model_of(where.client("s3"), where.bucket, version)
        return _carried_out(endpoint.steps(files), f"{endpoint.name} on {on}", off, (plan, yes, as_json))


def _carried_out(steps: Sequence[Step], title: str, off: bool, how: tuple[bool, bool, bool]) -> Output:
    is_plan, is_sure, as_json = how
    planned = going(look_at(steps)) if off else look_at(steps)
    if is_plan:
        return told(title, planned, None)
    if not off:
        refuse_foreign(planned)
    if not as_json:
        show(shown(planned, title))
    if not agreed("Take it away?" if off else "Make it so?", is_sure=is_sure, as_json=as_json):
        raise CommandError("nothing was changed")
    said = told(title, planned, remove(steps, remark) if off else apply(steps, remark))
    return Output(document=said.document, shown=words_of(said))


def ask(
    file: Annotated[Path, typer.Argument(help="Rows, one JSON list or object of features a line.")],
    *,
    on: OnOption,
    stage: StageOption = "local",
    project: ProjectOption = "",
    region: RegionOption = REGION,
) -> Output:
    """Ask the model behind an endpoint what it says of rows: latency, cost and success, one answer a row.

    \b
    fiso model ask rows.jsonl --on vertex --stage prod --project P --json
    """
    from fiso_cli.training import endpoints  # scikit-learn takes a second to import

    rows = endpoints.rows_of(file)
    where = Stage.named(stage)
    found: list[Any] = []
    with closing(
        endpoints.endpoint_of(on, where, image="-", role="-", project=project, bucket="-", region=region)
    ) as endpoint:
        for first in range(0, len(rows), MOST_ROWS):
            found += endpoint.predict(rows[first : first + MOST_ROWS])["predictions"]
    lines = [f"{each['execution_time_ms']:.1f} ms  {each['success_probability']:.4f}" for each in found]
    return Output(document={"predictions": found}, shown=lines)
