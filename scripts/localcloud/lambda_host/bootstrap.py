"""The process of an execution environment: prepares `sys.path` as Lambda's own bootstrap does, then runs awslambdaric.

Copied to `/var/runtime/bootstrap.py` and run there with `-S`, so the only packages are those of `/var/runtime`, the
layers and the function. Standard library and awslambdaric only. Its second argument is where the layers are.
"""

import os
import site
import sys


def _layer_directories(layers: str) -> list[str]:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return [f"{layers}/python/lib/{version}/site-packages", f"{layers}/python"]


def _prepare_path(task_root: str, layers: str) -> None:
    """A function that sets PYTHONPATH gives up the layers' default directories, on AWS as well."""
    default_layers = [] if "PYTHONPATH" in os.environ else _layer_directories(layers)
    for directory in (task_root, *default_layers):
        site.addsitedir(directory)
    sys.path[0:0] = [task_root, *default_layers]
    os.environ.setdefault("PYTHONPATH", os.environ["LAMBDA_RUNTIME_DIR"])


def main() -> None:
    handler, layers = sys.argv[1:3]
    site.setquit()
    site.setcopyright()
    site.sethelper()
    _prepare_path(os.environ["LAMBDA_TASK_ROOT"], layers)
    sys.argv[1:] = [handler]
    from awslambdaric.__main__ import main as run

    run(sys.argv)


if __name__ == "__main__":
    main()
