"""What holds for the whole suite: laws have no limit of time, and in CI they try the same examples each time."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fiso",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fiso")
