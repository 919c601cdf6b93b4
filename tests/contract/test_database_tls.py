"""The catalog's database over TLS: a genuine PostgreSQL and libpq, with certificates of a private authority, as RDS,
Aurora and Cloud SQL have them. The server's binaries here know no TLS; a front ends it, in PostgreSQL's own words."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fiso.adapters.postgres.catalog import PostgresCatalogStore, connect_from_secret, connect_from_url
from fiso.domain.errors import StoreError, StoreNotSetUp, StoreUnavailable
from fiso_cli import keeper_database
from tests.certificates import issued
from tests.contract.tls_front import ending_tls


@pytest.fixture
def private(url: str, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A database's URL, and its authority's certificate."""
    ca, certificate = issued(tmp_path)
    with ending_tls(url, certificate) as over_tls:
        yield over_tls, ca


def version(secret: str) -> int:
    return PostgresCatalogStore(connect_from_secret(secret, is_local=False)).load().version


def test_a_server_of_a_private_authority_is_reached_by_the_certificate_in_the_secret(private: tuple[str, str]) -> None:
    url, ca = private
    with closing(connect_from_url(url, is_local=False, ca=ca)()) as opened, opened.cursor() as rows:
        assert opened.info.ssl_in_use
        rows.execute("SELECT 1")
    assert version(json.dumps({"url": url, "ca": ca})) == 0


def test_or_by_a_file_that_its_url_names(private: tuple[str, str], tmp_path: Path) -> None:
    url, ca = private
    (tmp_path / "ca.pem").write_text(ca)
    assert version(f"{url}?sslrootcert={tmp_path / 'ca.pem'}") == 0


def test_nobody_else_is_taken_for_it(private: tuple[str, str], tmp_path: Path) -> None:
    url, _ = private
    another, _ = issued(tmp_path)
    for secret in (url, f"{url}?sslmode=disable", json.dumps({"url": url, "ca": another})):
        with pytest.raises(StoreUnavailable, match="certificate verify failed"):
            version(secret)


def test_nor_under_another_name(url: str, tmp_path: Path) -> None:
    ca, certificate = issued(tmp_path, host="elsewhere")
    with ending_tls(url, certificate) as over_tls, pytest.raises(StoreUnavailable, match="does not match host name"):
        version(json.dumps({"url": over_tls, "ca": ca}))


NO_SECRETS = {
    "nothing": "",
    "no URL": "hunter2",
    "JSON without a URL": '{"ca": "x"}',
    "JSON that is cut": '{"url": "postgresql://u:hunter2@db',
    "an authority that is a number": '{"url": "postgresql://u:hunter2@db/x", "ca": 7}',
    "an authority that is no certificate": '{"url": "postgresql://u:hunter2@db/x", "ca": "hunter2"}',
    "half a certificate": json.dumps({"url": "postgresql://u:hunter2@db/x", "ca": "-----BEGIN CERTIFICATE-----\nMIIB"}),
    "no host": "postgresql:///fiso?user=hunter2",
    "a socket": "postgresql://%2Ftmp/fiso",
}


@pytest.mark.parametrize("secret", NO_SECRETS.values(), ids=NO_SECRETS.keys())
def test_what_is_no_secret_is_told_in_one_line_that_shows_nothing_of_it(secret: str) -> None:
    with pytest.raises(StoreNotSetUp) as told:
        version(secret)
    assert "\n" not in str(told.value)
    assert "hunter2" not in str(told.value)


def test_the_keepers_secret_takes_the_authority_along_and_no_path_of_the_operators(
    private: tuple[str, str], tmp_path: Path
) -> None:
    url, ca = private
    (tmp_path / "ca.pem").write_text(ca)
    secret = keeper_database.secret_for(f"{url}?sslrootcert={tmp_path / 'ca.pem'}&application_name=x", "fiso", "p@ss")
    assert str(tmp_path) not in secret
    assert (version(secret), json.loads(secret)["ca"]) == (0, ca)
    with pytest.raises(StoreError):
        keeper_database.secret_for(f"{url}?sslrootcert={tmp_path / 'none.pem'}", "fiso", "p")
