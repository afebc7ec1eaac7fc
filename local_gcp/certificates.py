"""Certificates for local servers that stand in for Google's, for clients that are told to trust them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LIFE: Final = timedelta(days=3650)
_CLOCK_SKEW: Final = timedelta(days=1)


def write(folder: Path, names: Sequence[str]) -> None:
    """Create an authority and a server certificate for `names` in `folder`; do nothing if they exist.

    Clients trust ``ca.pem``; the server presents ``server.pem``, and its key in ``server.key`` is readable by
    its owner only. The authority's own key is thrown away, so that it can never sign anything else.
    """
    if (folder / "ca.pem").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _authority(authority_key)
    server = _server(server_key.public_key(), names, authority, authority_key)
    _write_private(folder / "server.key", server_key)
    (folder / "server.pem").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    fresh = folder / f"ca.{os.getpid()}"
    fresh.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    fresh.replace(folder / "ca.pem")


def _builder(
    subject: str, issuer: x509.Name | None, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    # Python 3.13 and newer require key identifiers and the key usage of the authority.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    builder = _builder("local_gcp", None, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())


def _server(
    key: ec.EllipticCurvePublicKey,
    names: Sequence[str],
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    builder = _builder(names[0], authority.subject, key)
    builder = builder.add_extension(
        x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
    )
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return builder.add_extension(usage, critical=False).sign(authority_key, hashes.SHA256())


def _write_private(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
