"""Distance: the published round trip between the router's region and an endpoint's. Standard library only.

Medians over the clouds' own inter-region figures, per pair of the places of `features.PLACES`: AWS (cloudping.co,
one-year p50), Azure ("Azure network round-trip latency statistics", March 2026), Google (Performance Dashboard,
November 2023). Between clouds in one place 2 to 5 ms were measured (intercloud-throughput, February 2022).
"""

from fiso.prediction import features

SAME_PLACE_MS = 5.0
_ROUND_TRIPS_MS = (
    (),
    (64,),
    (30, 40),
    (79, 135, 102),
    (92, 144, 110, 15),
    (113, 170, 133, 38, 32),
    (158, 108, 144, 217, 221, 246),
    (218, 166, 202, 168, 161, 190, 72),
    (202, 224, 229, 127, 133, 170, 130, 59),
    (118, 175, 143, 183, 198, 216, 264, 327, 314),
)
"""Row and column are places, the lower triangle."""


def round_trip_ms(router_region: str | None, region: str) -> float:
    """The round trip in ms; 0 where either region is not known, so that nothing is taken off."""
    if router_region is None:
        return 0.0
    places = features.place(router_region), features.place(region)
    if places[0] is None or places[1] is None:
        return 0.0
    low, high = sorted((places[0], places[1]))
    return SAME_PLACE_MS if low == high else float(_ROUND_TRIPS_MS[high][low])
