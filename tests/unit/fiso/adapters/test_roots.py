"""Which authorities a database server's certificate is asked for, by its host."""

import re
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from fiso.adapters.postgres import roots

NAME = re.compile(r"Amazon RDS ([a-z]{2}-[a-z]+-\d) Root CA (RSA2048|RSA4096|ECC384) G1")
PUBLIC = {f"Amazon Root CA {number}" for number in range(1, 5)} | {"Starfield Services Root Certificate Authority - G2"}


def common_name(fields: Any) -> str:
    return str(dict(part[0] for part in fields)["commonName"])


def test_what_is_shipped_for_rds_are_roots_of_each_region_by_three_keys_and_nothing_else() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(roots.RDS)
    every = context.get_ca_certs()
    for certificate in every:
        assert certificate["subject"] == certificate["issuer"]
        assert ssl.cert_time_to_seconds(str(certificate["notAfter"])) > time.time() + 365 * 86_400
    names = {common_name(certificate["subject"]) for certificate in every}
    kinds = {match.groups() for name in names if (match := NAME.fullmatch(name))}
    regions = {region for region, _ in kinds}
    assert {"us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-2"} <= regions
    assert len(kinds) == 3 * len(regions)
    assert len(every) == len(names) == len(kinds) + len(PUBLIC)
    assert names > PUBLIC


@pytest.mark.parametrize(
    ("host", "is_rds"),
    [
        ("fiso.abc123.us-east-1.rds.amazonaws.com", True),
        ("FISO.abc123.us-east-1.RDS.amazonaws.com", True),
        ("proxy.proxy-abc123.us-east-1.rds.amazonaws.com", True),
        ("a.b.us-east-1.rds.amazonaws.com,c.d.us-east-1.rds.amazonaws.com", True),
        ("a.b.us-east-1.rds.amazonaws.com,db.example.com", False),
        ("rds.amazonaws.com", False),
        ("fiso.us-east-1.rds.amazonaws.com.example.com", False),
        ("fiso-rds.amazonaws.com", False),
        ("fiso.postgres.database.azure.com", False),
        ("", False),
    ],
)
def test_they_count_for_rds_own_hosts_alone(host: str, is_rds: bool) -> None:
    found = roots.trusted({"host": host})
    assert (found.get("sslrootcert") == str(roots.RDS)) is is_rds


def test_what_the_operator_names_wins() -> None:
    rds = {"host": "a.b.us-east-1.rds.amazonaws.com"}
    assert roots.trusted({**rds, "sslrootcert": "/own.pem"}) == {}
    ca = roots.RDS.read_text()[roots.RDS.read_text().index("-----BEGIN") :].partition("# ")[0]
    own = roots.trusted({**rds, "sslrootcert": "/own.pem"}, ca)["sslrootcert"]
    assert Path(own).read_text() == ca
    assert roots.trusted(rds, ca) == {"sslrootcert": own}, "one file a process, not one a round"
