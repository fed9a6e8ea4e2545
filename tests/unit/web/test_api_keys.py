import hashlib
from pathlib import Path

import pytest

from server.web.api_keys import ApiKeys, BadKeyFileError, Scope, exposes_secrets

CI = "ci-0123456789abcdef"
OPS = "ops-0123456789abcdef"
HASHED = "sha256:" + hashlib.sha256(OPS.encode()).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def load(file: Path, text: str) -> ApiKeys:
    file.write_text(text)
    return ApiKeys.load(file)


def refusal(file: Path, text: str | bytes) -> str:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadKeyFileError) as refused:
        ApiKeys.load(file)
    return str(refused.value)


def test_a_key_is_found_by_its_secret_and_has_its_name_and_scopes(file: Path) -> None:
    keys = load(
        file, f"# who  what\n\nci predict,read {CI}\t# of the pipeline\nops admin {HASHED}\n"
    )
    ci, ops = keys.find(CI), keys.find(OPS)
    assert ci
    assert (ci.name, sorted(ci.scopes)) == ("ci", ["predict", "read"])
    assert ops
    assert ops.name == "ops"


@pytest.mark.parametrize("secret", ["", CI[:-1], CI + "x", CI.upper(), HASHED, "ci", "\udc80ü" * 9])
def test_what_is_no_key_finds_none(file: Path, secret: str) -> None:
    assert load(file, f"ci read {CI}\nops admin {HASHED}").find(secret) is None


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        ("read", {Scope.READ}),
        ("predict", {Scope.PREDICT}),
        ("read,predict", {Scope.READ, Scope.PREDICT}),
        ("admin", {*Scope}),
    ],
)
def test_a_key_allows_its_scopes_and_admin_allows_all(
    file: Path, scopes: str, allowed: set[Scope]
) -> None:
    key = load(file, f"ci {scopes} {CI}").find(CI)
    assert key
    assert {scope for scope in Scope if key.allows(scope)} == allowed


def test_a_byte_order_mark_and_line_ends_of_windows_are_no_part_of_a_key(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + f"ci read {CI}\r\nops admin {OPS}\r\n".encode())
    keys = ApiKeys.load(file)
    assert keys.find(CI)
    assert keys.find(OPS)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (OPS, "it must have a name, scopes and a key"),
        (f"ops {OPS}", "it must have a name, scopes and a key"),
        (f"ops read, predict {OPS}", "it must have a name, scopes and a key"),
        (f"ops write {OPS}", "the scopes must be of read, predict, admin"),
        (f"ops read,,predict {OPS}", "the scopes must be of read, predict, admin"),
        (f"ops {OPS} read", "the scopes must be of read, predict, admin"),
        (f"o/ps read {OPS}", "the name must be"),
        (f"ops read {OPS[:15]}", "the key is shorter than 16 characters"),
        (f"ops read {OPS}é", "the key must be printable ASCII"),
        ("ops read sha256:0123456789abcdef", "must be followed by 64 hexadecimal digits"),
        (f"ci read {OPS}", "it has the name of line 1"),
        (f"ops read {CI}", "it has the key of line 1"),
        (f"ops read sha256:{hashlib.sha256(CI.encode()).hexdigest()}", "it has the key of line 1"),
    ],
)
def test_a_wrong_line_is_named_by_its_number_and_not_repeated(
    file: Path, line: str, sentence: str
) -> None:
    told = refusal(file, f"ci read {CI}\n# a comment\n{line}\n")
    assert told.startswith(f"line 3: {sentence}") or sentence in told.partition("line 3: ")[2]
    assert "\n" not in told
    assert not {word for word in line.split() if len(word) > 12 and word in told}


@pytest.mark.parametrize("text", ["", "\n\n", "# ci read 0123456789abcdef0\n"])
def test_a_file_without_a_key_is_refused(file: Path, text: str) -> None:
    assert "it has no key" in refusal(file, text)


def test_a_file_that_can_not_be_read_is_refused(file: Path) -> None:
    assert "no text" in refusal(file, b"\xff\xfe\x00")
    with pytest.raises(BadKeyFileError, match="can't be read"):
        ApiKeys.load(file.parent)


def test_keys_that_everybody_can_read_are_noticed_hashes_are_not(file: Path) -> None:
    file.write_text(f"ci read {CI}\nops admin {HASHED}")
    file.chmod(0o604)
    assert exposes_secrets(file)
    file.chmod(0o640)
    assert not exposes_secrets(file)
    file.write_text(f"# {CI}\nops admin {HASHED}")
    file.chmod(0o644)
    assert not exposes_secrets(file)
