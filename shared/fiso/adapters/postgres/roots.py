"""Whose signature on a database server's certificate counts: what the operator names, else by the server's host.

Managed databases have certificates of private authorities: RDS' and Aurora's are shipped here, Cloud SQL's is one for
each instance and comes with the URL. Azure's server and RDS Proxy are signed by public ones, which the system knows.
"""

import atexit
import os
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from fiso.domain.errors import StoreNotSetUp

RDS = Path(__file__).with_name("rds-roots.pem")
_RDS_HOSTS = ".rds.amazonaws.com"
_SYSTEMS = ("/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem")
"""Where Amazon Linux, Debian and others keep theirs. libpq's own word for it, `system`, asks the OpenSSL that psycopg2
brings along, which looks where it was built."""


def trusted(parameters: Mapping[str, str], ca: str = "") -> dict[str, str]:
    """libpq's `sslrootcert` for a server: `ca` (PEM text) if there is any, what the URL itself says, or by its host.
    `StoreNotSetUp` for a `ca` that holds no certificate."""
    if ca.strip():
        return {"sslrootcert": _file_of(ca)}
    if "sslrootcert" in parameters:
        return {}
    if all(host.lower().endswith(_RDS_HOSTS) for host in parameters.get("host", "").split(",")):
        return {"sslrootcert": str(RDS)}
    return {"sslrootcert": found} if (found := _system()) else {}


def _system(places: Sequence[str] = _SYSTEMS) -> str | None:
    own = ssl.get_default_verify_paths().cafile
    return next((place for place in (own, *places) if place and os.path.exists(place)), None)


@cache
def _file_of(ca: str) -> str:
    """A file of this process's own, since libpq takes no text. Nothing that stands there already is believed."""
    try:
        ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise StoreNotSetUp("the database's `ca` holds no certificate in PEM form") from None
    handle, name = tempfile.mkstemp(prefix="fiso-database-ca-", suffix=".pem")
    with open(handle, "w", encoding="ascii") as file:
        file.write(ca)
    atexit.register(Path(name).unlink, missing_ok=True)
    return name
