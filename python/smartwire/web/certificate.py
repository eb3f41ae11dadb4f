"""The certificate of the web pages: the operator's, or one that the box makes for itself."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from pathlib import Path

from smartwire.errors import Error

DAYS = 3650
NAMES = ("certificate.pem", "key.pem")


def own(directory: Path, host_name: str, addresses: tuple[str, ...] = ()) -> tuple[Path, Path]:
    """(certificate, key) that the box has made, or makes now; the key is for its owner's eyes only.

    Args:
        directory: where they are kept.
        host_name: whose name it bears.
        addresses: IP addresses that it is also good for.
    """
    certificate, key = (directory / name for name in NAMES)
    if not (certificate.exists() and key.exists()):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path, content in zip((key, certificate), reversed(_made(host_name, addresses)), strict=True):
            draft = path.with_suffix(".new")
            draft.unlink(missing_ok=True)
            file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "wb") as out:
                out.write(content)
            draft.replace(path)
    return certificate, key


def _made(host_name: str, addresses: tuple[str, ...]) -> tuple[bytes, bytes]:
    """A new certificate, signed by itself, and its key, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host_name)])
    now = datetime.datetime.now(datetime.UTC)
    good_for: list[x509.GeneralName] = [x509.DNSName(n) for n in dict.fromkeys((host_name, "localhost"))]
    known = dict.fromkeys((*addresses, "127.0.0.1", "::1"))
    good_for += [x509.IPAddress(ipaddress.ip_address(address)) for address in known]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName(good_for), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), private


def fingerprint(certificate: Path) -> str:
    """SHA-256 of a certificate, as browsers show it."""
    import hashlib

    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    return ":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest())


def context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and newer with this certificate.

    Raises:
        Error: the files are no certificate and its key.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        made.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as e:
        raise Error(f"{certificate} and {key} are no certificate and its key ({e.strerror or e}).") from None
    return made
