"""TLS: the certificate that the server shows, and its key."""

import ssl
from pathlib import Path
from typing import Final

_NOT_OF_ONE_PAIR: Final = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}


class BadCertificateError(Exception):
    """The certificate or its key can't be used; one line that names the flag."""


def context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """What connections are encrypted with, by TLS 1.2 or newer; None without a certificate.

    Args:
        certificate: PEM file of the certificate, followed by those that vouch for it.
        key: PEM file of its private key, not encrypted.

    Raises:
        BadCertificateError: One of them is missing or can't be used, or they don't belong together.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        given, missing = ("--tls-cert", "--tls-key") if certificate else ("--tls-key", "--tls-cert")
        raise BadCertificateError(f"{given} needs {missing}: a certificate and its key go together")
    _check_certificate(certificate)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    _load(made, certificate, key)
    return made


def _check_certificate(file: Path) -> None:
    """Tell what is wrong with the certificate alone; `load_cert_chain` does not tell which is."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(file)
    except ssl.SSLError:
        raise BadCertificateError(f"--tls-cert {file} holds no certificate in PEM form") from None
    except OSError as error:
        raise BadCertificateError(f"--tls-cert {file} can't be read: {error.strerror}") from None


def _load(made: ssl.SSLContext, certificate: Path, key: Path) -> None:
    asked: list[str] = []

    def password() -> str:  # OpenSSL would ask at the terminal
        asked.append("password")
        return ""

    try:
        made.load_cert_chain(certificate, key, password)
    except ssl.SSLError as error:
        if asked:
            why = "is encrypted; decrypt it with: openssl pkey -in KEY -out DECRYPTED"
        elif error.reason in _NOT_OF_ONE_PAIR:
            why = f"is not the key of --tls-cert {certificate}"
        elif error.reason:
            why = f"can't be used with --tls-cert {certificate}: {error.reason}"
        else:
            why = "holds no private key in PEM form"
        raise BadCertificateError(f"--tls-key {key} {why}") from None
    except OSError as error:
        raise BadCertificateError(f"--tls-key {key} can't be read: {error.strerror}") from None
