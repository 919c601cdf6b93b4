from collections import Counter
from itertools import product

from localcloud.demo import plan


def test_the_batch_covers_every_function_in_every_region_with_several_sizes() -> None:
    calls = plan.calls(240)
    contexts = Counter((call.function, call.headers["x-fiso-user-region"]) for call in calls)
    assert len(calls) == 240
    assert set(contexts) == set(product(plan.functions(), plan.USER_REGIONS))
    assert min(contexts.values()) >= 240 // 12 - 3
    sizes = {function: {len(call.body) for call in calls if call.function == function} for function in plan.functions()}
    assert all(len(found) >= 3 for found in sizes.values())


def test_the_batch_is_the_same_every_time() -> None:
    assert plan.calls(50) == plan.calls(50)


def test_every_call_knows_the_bytes_that_must_come_back() -> None:
    by_function = {payload.function: payload.expected() for payload in plan.payloads()}
    assert all(by_function.values())
    assert by_function["word-count"].startswith(b'{"total":20000,')
    assert len(by_function["pixels"]) == 96 * 96 * 3
