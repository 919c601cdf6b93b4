"""What one caller's requests make copies answer, in any order and number, holds no copy back for another caller whose
own are answered well."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from fiso_client.core.attribution import Attribution, Copy
from tests.builders import NOW

IDS = ("a", "b", "c")
BODIES = [(200, "html"), (200, "empty"), (200, "json"), (206, "text"), (204, "empty"), (304, "")]
ERRORS = [(404, "json"), (500, "json"), (302, ""), (400, "json"), (422, ""), (429, "html"), (503, ""), (None, "")]
KINDS = st.sampled_from([*BODIES, *ERRORS])
STEP = st.tuples(
    st.sampled_from(["other", "other", "honest"]), st.sampled_from(IDS), KINDS, st.sampled_from([0.01, 0.4, 2.0, 40.0])
)
Step = tuple[str, str, tuple[int | None, str], float]


@given(st.lists(STEP, max_size=120))
@settings(max_examples=200, deadline=None)
def test_what_one_callers_requests_bring_about_holds_no_copy_back_for_another(steps: list[Step]) -> None:
    judged, now = Attribution(), NOW
    for caller, id, (status, shape), pause_s in steps:
        now += timedelta(seconds=pause_s)
        copy = Copy("f", id, "aws", id)
        if caller == "honest":
            status, shape = 200, "json"
        judged.started(copy, now, 1.0)
        oddity = "broken" if status is None else judged.oddity(copy, IDS, status, shape, caller)
        assert caller == "other" or oddity is None
        judged.ended(copy, IDS, oddity=oddity, shape=shape, now=now, status=status, caller=caller)
        assert judged.held_back("f", IDS, {}, now, caller="honest") == {}
