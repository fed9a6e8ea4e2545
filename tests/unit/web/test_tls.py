import ssl
import subprocess
from pathlib import Path

import pytest

from server.web import tls
from tests.certificates import self_signed
from tests.faults.disks import needed


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a certificate, its key, and what is no use."""
    folder = tmp_path_factory.mktemp("tls")
    self_signed(folder)
    (folder / "junk").write_text("no PEM")
    for command in (
        "ecparam -name prime256v1 -genkey -noout -out other",
        "genrsa -out rsa 2048",
        "pkey -in key.pem -aes128 -passout pass:secret -out encrypted",
    ):
        subprocess.run(
            [needed("openssl"), *command.split()], cwd=folder, check=True, capture_output=True
        )
    return folder


def refusal(certificate: Path | None, key: Path | None) -> str:
    with pytest.raises(tls.BadCertificateError) as refused:
        tls.context(certificate, key)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_without_a_certificate_there_is_no_tls() -> None:
    assert tls.context(None, None) is None


def test_with_a_certificate_and_its_key_tls_1_2_is_the_oldest(files: Path) -> None:
    context = tls.context(files / "cert.pem", files / "key.pem")
    assert context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_certificate_and_its_key_go_together(files: Path) -> None:
    assert refusal(files / "cert.pem", None).startswith("--tls-cert needs --tls-key")
    assert refusal(None, files / "key.pem").startswith("--tls-key needs --tls-cert")


@pytest.mark.parametrize(
    ("certificate", "key", "told"),
    [
        ("none", "key.pem", "--tls-cert {certificate} can't be read: No such file"),
        ("cert.pem", "none", "--tls-key {key} can't be read: No such file"),
        ("junk", "key.pem", "--tls-cert {certificate} holds no certificate"),
        ("key.pem", "cert.pem", "--tls-cert {certificate} holds no certificate"),
        ("cert.pem", "junk", "--tls-key {key} holds no private key"),
        ("cert.pem", "encrypted", "--tls-key {key} is encrypted"),
        ("cert.pem", "other", "--tls-key {key} is not the key of --tls-cert {certificate}"),
        ("cert.pem", "rsa", "--tls-key {key} is not the key of --tls-cert {certificate}"),
    ],
)
def test_what_is_wrong_with_which_file_is_told(
    files: Path, certificate: str, key: str, told: str
) -> None:
    paths = {"certificate": files / certificate, "key": files / key}
    assert refusal(**paths).startswith(told.format(**paths))
