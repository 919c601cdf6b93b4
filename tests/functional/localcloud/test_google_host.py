"""The Google host as a process: the vendor's framework, behind the door."""

import http.client
from pathlib import Path

import pytest

from tests.functional.localcloud.emulator_fixture import answers, eventually, free_port, module_process

SOURCE = (
    "import functions_framework\n@functions_framework.http\ndef sample(request):\n    return request.get_data()[::-1]\n"
)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({}, 200),
        ({"Origin": "https://attacker.test"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "attacker.test"}, 403),
        ({"Origin": "https://shop.test", "x-fiso-invocation-id": "i"}, 200),
    ],
)
def test_serves_the_function_to_the_owners_processes(said: dict[str, str], status: int, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(SOURCE)
    port = free_port()
    options = ("--target", "sample", "--source", str(tmp_path / "main.py"), "--port", str(port))
    with module_process("google_host", *options, log=tmp_path / "log"):
        eventually(lambda: answers(f"http://127.0.0.1:{port}/robots.txt"))
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/", body=b"abc", headers=said)
        answer = connection.getresponse()
        assert answer.status == status
        assert (answer.read() == b"cba") == (status == 200)
        connection.close()
