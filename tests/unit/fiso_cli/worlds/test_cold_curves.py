from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.domain.endpoint import Provider
from fiso.routing.levels import cold_after_idle
from fiso_cli.errors import BadInput
from fiso_cli.worlds.clouds import cold_curves
from fiso_cli.worlds.clouds.cold_curves import ColdCurve, curve_of
from tests.unit.fiso_cli.worlds.settings import HALF

HEADER = "snapshot,provider,series,idle_min,p_cold"


@given(st.floats(0, 4_000), st.floats(0, 1, exclude_max=True))
def test_an_instance_is_kept_exactly_while_its_draw_is_at_least_the_chance_of_cold(idle_s: float, draw: float) -> None:
    assert (idle_s < HALF.kept_s(draw)) == (draw >= HALF.cold(idle_s)) or idle_s == HALF.last_s


@pytest.mark.parametrize("provider", list(Provider))
@pytest.mark.parametrize("idle_s", [0.0, 119.0, 120.0, 400.0, 900.0, 1_500.0, 2_000.0, 5_000.0])
def test_the_shipped_curves_say_what_the_router_is_told(provider: Provider, idle_s: float) -> None:
    assert cold_curves.shipped()[provider].cold(idle_s) == pytest.approx(cold_after_idle(provider, idle_s, None))


def test_measured_points_become_steps_that_never_fall() -> None:
    curve = curve_of([(120.0, 0.4), (0.0, 0.0), (60.0, 0.5), (180.0, 1.0)])
    assert curve == ColdCurve(idle_s=(0.0, 30.0, 90.0, 150.0), p_cold=(0.0, 0.5, 0.5, 1.0), last_s=180.0)
    assert [curve.cold(at) for at in (29.0, 30.0, 149.0, 150.0, 181.0)] == [0.0, 0.5, 0.5, 1.0, 1.0]


def test_a_file_of_curves_is_read_at_its_newest_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    rows = [
        f"{cold_curves.SNAPSHOT},{provider},0,{minute},{minute / 10}" for provider in Provider for minute in (0, 5, 10)
    ]
    path.write_text("\n".join([HEADER, "2019-01-01,aws,0,0,1.0", *rows]), encoding="utf-8")
    curves = cold_curves.read(path)
    assert curves[Provider.GCP] == ColdCurve(idle_s=(0.0, 150.0, 450.0), p_cold=(0.0, 0.5, 1.0), last_s=600.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("provider,idle_min\naws,1", "columns missing: snapshot, p_cold"),
        (f"{HEADER}\n{cold_curves.SNAPSHOT},aws,0,1,0.5", "no rows of snapshot 2021-01-07 for azure, gcp"),
        (f"{HEADER}\n{cold_curves.SNAPSHOT},aws,0,1,much", "could not convert"),
        (f"{HEADER}\n{cold_curves.SNAPSHOT},ovh,0,1,0.5", "ovh"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "curves.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=said) as refused:
        cold_curves.read(path)
    assert "\n" not in str(refused.value)
