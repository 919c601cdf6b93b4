import base64

from multidict import CIMultiDict

from fiso_client.core.lambda_api import read_report
from localcloud.provider_proxy.listener import say_cold

LINE = b"REPORT RequestId: 1\tDuration: 2.10 ms\tBilled Duration: 3 ms\tMemory Size: 256 MB\tMax Memory Used: 40 MB\t"


def test_a_lambda_reports_the_emulated_start_as_its_init_duration() -> None:
    headers = CIMultiDict({"X-Amz-Log-Result": base64.b64encode(b"START\n" + LINE + b"\n").decode()})
    say_cold(headers, 210.0)
    tail = base64.b64decode(headers["x-amz-log-result"])
    assert read_report(tail, "1").is_cold
    assert tail.count(b"\n") == 2


def test_a_genuine_init_duration_stands() -> None:
    genuine = LINE + b"Init Duration: 90.00 ms\t\n"
    headers = CIMultiDict({"X-Amz-Log-Result": base64.b64encode(genuine).decode()})
    say_cold(headers, 210.0)
    assert base64.b64decode(headers["x-amz-log-result"]) == genuine


def test_an_http_function_says_it_in_its_header() -> None:
    headers = CIMultiDict({"x-fiso-cold": "0"})
    say_cold(headers, 1300.0)
    assert headers.getall("x-fiso-cold") == ["1"]


def test_a_tail_that_is_no_base64_is_left_alone() -> None:
    headers = CIMultiDict({"X-Amz-Log-Result": "*"})
    say_cold(headers, 210.0)
    assert headers["x-amz-log-result"] == "*"
