"""Certificates for localhost, made on the spot: one that signs itself, and an authority with a server's under it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PEM = serialization.Encoding.PEM


def self_signed(folder: Path) -> Path:
    """A certificate for localhost with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _written(folder / "cert.pem", _certificate("localhost", key, "localhost", key, is_authority=True), key)


def issued(folder: Path, host: str = "localhost") -> tuple[str, Path]:
    """A private authority's certificate as PEM text, and a server's from it with its key, in one file."""
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    who = f"authority-{uuid4().hex[:8]}"
    root = _certificate(who, authority, who, authority, is_authority=True)
    server = _certificate(host, key, who, authority, is_authority=False)
    return root.public_bytes(PEM).decode(), _written(folder / f"{host}.pem", server, key)


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey, *, is_authority: bool
) -> x509.Certificate:
    subject, signer = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each)]) for each in (name, issuer))
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(signer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .sign(by, hashes.SHA256())
    )


def _written(file: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Path:
    secret = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(certificate.public_bytes(PEM) + secret)
    return file
