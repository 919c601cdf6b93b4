"""`fiso serve`: the orchestrator behind a door of its own, on this machine or in a container."""

import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from fiso_cli.errors import BadInput, CommandError
from fiso_cli.options import StageOption
from fiso_cli.rendering import Output, remark
from fiso_cli.stage import Stage

LOOPBACK = "127.0.0.1"


def serve(
    stage: StageOption = "",
    host: Annotated[str, typer.Option(help="Where to listen; another than loopback needs FISO_AUTH=jwt.")] = LOOPBACK,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Which port.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes, one for each processor.")] = 1,
    console: Annotated[bool, typer.Option("--console", help="The console as well, below /console.")] = False,
) -> Output:
    """Serve FISO's API as a WSGI application until Ctrl-C; what a container runs.

    Settings are the environment's (FISO_STAGE, FISO_BUCKET and so on, as docs/serve.md lists them); with --stage those
    that the stage's orchestrator was deployed with. SIGTERM ends it after what it has begun, SIGHUP replaces its
    workers one by one.

    \b
    fiso serve --stage local --port 8080
    """
    from fiso.settings import MissingSetting
    from functions.server.wiring import application_settings
    from functions.server.wiring import serve as run

    environ = dict(os.environ) if not stage else os.environ | deployed_with(Stage.named(stage))
    environ |= {"PORT": str(port), "FISO_SERVE_HOST": host, "FISO_SERVE_WORKERS": str(workers)}
    environ |= {"FISO_SERVE_CONSOLE": "1"} if console else {}
    os.environ.update(environ)
    try:
        application_settings(environ, host)
        remark(f"serving on http://{host}:{port}; Ctrl-C ends it")
        code = run(environ)
    except MissingSetting as error:
        raise BadInput(str(error)) from error
    except OSError as error:
        raise CommandError(f"{host}:{port}: {error.strerror or error}") from error
    return Output(document={"clean": code == 0}, shown=[], exit_code=code)


def deployed_with(stage: Stage) -> Mapping[str, str]:
    """The variables of the stage's orchestrator, and what leads to the stage's cloud. The model is the packaged one."""
    from fiso_cli.local_stage import MODELS

    with stage.wrapped_errors():
        name = stage.function_name("orchestrator")
        found: dict[str, Any] = stage.client("lambda").get_function_configuration(FunctionName=name)
    variables = dict(found.get("Environment", {}).get("Variables", {}))
    around = stage.local.aws_environment() if stage.local else {"AWS_REGION": stage.region}
    if stage.local is not None:
        around |= {"AWS_ENDPOINT_URL_LAMBDA": stage.local.provider_url(0)}
    return variables | around | {"FISO_MODEL_DIR": str(MODELS)}
