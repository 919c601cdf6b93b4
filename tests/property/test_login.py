"""The law of where a login may end: no wish leads a person away from the console."""

from urllib.parse import urljoin, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from functions.console.login import return_path

pieces = st.sampled_from(
    ["/", "//", "\\", "/console", "..", "%2f", "@", ":", "?", "#", "\r\n", "\t", "evil.example", "a"]
)


@given(st.one_of(st.text(max_size=80), st.lists(pieces, max_size=8).map("".join), st.none()))
def test_a_login_ends_under_the_console_whatever_was_wished_for(wanted: str | None) -> None:
    path = return_path(wanted)
    site = "https://fiso.example"
    for address in (site + path, urljoin(f"{site}/console/login", path)):
        parts = urlsplit(address)
        assert parts.netloc == "fiso.example"
        assert parts.path == "/console" or parts.path.startswith("/console/")
        assert address.isprintable()
        assert ".." not in parts.path.split("/")
