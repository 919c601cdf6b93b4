"""Runs an unpacked package as a cloud does: the vendor's framework, the package's own folder, nothing else to import.

The interpreter is started without `site`, so that the checkout, which a `.pth` file would add, is not there.
"""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

LIBRARIES = sysconfig.get_paths()["purelib"]
HOST = Path(__file__).parents[3] / "scripts"

GOOGLE = """
import functions_framework
client = functions_framework.create_app("sample", "main.py").test_client()
answer = client.post("/word-count", data=b"a b a")
print(answer.status_code, answer.get_data(as_text=True))
"""
AZURE = """
from pathlib import Path
import azure.functions as func
from localcloud.azure_host.application import Invoker, load
app = load(Path.cwd())
request = func.HttpRequest("POST", "http://localhost/api/word-count", body=b"a b a",
                           route_params={"name": "word-count"})
answer = Invoker(app).invoke("sample", request)
print(answer.status_code, answer.get_body().decode())
"""


def unpacked(archive: Path, into: Path) -> Path:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(into)
    return into


def run(folder: Path, program: str, *beside: Path) -> str:
    """What the program says that runs in the folder; `beside` are further places to import from, tried last."""
    paths = [str(folder), LIBRARIES, *map(str, beside)]
    started = f"import sys; sys.path[:0] = {paths[:1]!r}; sys.path += {paths[1:]!r}\n{program}"
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", started]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


AWS = """
from handler import lambda_handler
event = {"version": "2.0", "rawPath": "/word-count", "requestContext": {"http": {"method": "POST"}}, "body": "a b a"}
answer = lambda_handler(event, None)
print(answer["statusCode"], answer["body"])
"""
