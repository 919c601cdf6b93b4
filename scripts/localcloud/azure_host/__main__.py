"""`python -m localcloud.azure_host`: serve a function app with gunicorn until SIGTERM or SIGINT."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

THREADS = 8


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="azure_host", description=__doc__)
    parser.add_argument("--app", type=Path, required=True, metavar="DIR", help="folder with function_app.py")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--behind", type=int, action="append", default=[], metavar="PORT", help="passes requests on here"
    )
    parser.add_argument("--path", type=Path, action="append", default=[], metavar="DIR", help="added to sys.path")
    return parser.parse_args(arguments)


def gunicorn_command(app: Path, port: int, paths: Sequence[Path], behind: Sequence[int] = ()) -> list[str]:
    """One process, so that a function app's module state is one, and eight threads for concurrent requests."""
    listed = [str(path.resolve()) for path in paths]
    factory = f"localcloud.azure_host.wsgi:build({str(app.resolve())!r}, {listed!r}, {port}, {[*behind]!r})"
    command = [sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--workers", "1"]
    command += ["--threads", str(THREADS), "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    # a connection of the provider proxy outlives any pause of a demonstration; invocations may take minutes
    return [*command, "--keep-alive", "75", "--timeout", "240", "--graceful-timeout", "1", factory]


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    if not (options.app / "function_app.py").is_file():
        sys.exit(f"azure_host: {options.app}: no function_app.py")
    command = gunicorn_command(options.app, options.port, options.path, options.behind)
    os.execv(command[0], command)  # nosec B606: this interpreter, a fixed argument list


if __name__ == "__main__":
    main()
