import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from server import settings
from server.settings import BadSettingError, Settings, load

FIELDS = Settings.model_fields
NUMBERS = [name for name, field in FIELDS.items() if isinstance(field.default, int | float)]
CHOICES = [name for name, field in FIELDS.items() if str in map(type, get_args(field.annotation))]
each_setting = pytest.mark.parametrize("name", FIELDS)


@pytest.fixture(autouse=True)
def no_variables_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith(settings.PREFIX) or name == "PORT":
            monkeypatch.delenv(name)


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def variable(name: str) -> str:
    return f"SERVER_{name}".upper()


EXAMPLES: dict[str, object] = {
    "keep_results": "30d,1000",
    "remote": "s3://bucket/prefix",
    "s3_storage_class": "STANDARD_IA",
    "s3_kms_key": "alias/ours",
    "s3_ca_bundle": Path(__file__),
    "api_key_file": Path(__file__),
    "cors_origin": "https://app.example,http://localhost:3000",
    "tls_cert": Path(__file__),
    "tls_key": Path(__file__),
}


def another(name: str) -> tuple[str, object]:
    """A value that is not the default: as one types it, and as it is read."""
    field = FIELDS[name]
    default = field.default
    if name in EXAMPLES:
        return str(EXAMPLES[name]), EXAMPLES[name]
    if isinstance(default, int | float):
        return str(default + 1), default + 1
    if isinstance(default, Path):
        return "else/where", Path("else/where")
    if isinstance(default, tuple):
        return "png,webp", ("png", "webp")
    choices = [choice for choice in get_args(field.annotation) if choice != default]
    return (choices or ["another"])[0], (choices or ["another"])[0]


def refusal(*arguments: str) -> str:
    with pytest.raises(BadSettingError) as refused:
        load([*arguments])
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


def test_the_defaults_are_taken_where_nothing_is_said() -> None:
    assert load([]).model_dump() == {name: field.default for name, field in FIELDS.items()}


@each_setting
def test_a_setting_is_read_from_its_flag(name: str) -> None:
    text, value = another(name)
    for arguments in ([flag(name), text], [f"{flag(name)}={text}"]):
        assert getattr(load(arguments), name) == value


@each_setting
def test_a_setting_is_read_from_its_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value = another(name)
    monkeypatch.setenv(variable(name), text)
    loaded = load([])
    assert getattr(loaded, name) == value
    assert {key for key in FIELDS if getattr(loaded, key) != FIELDS[key].default} == {name}


@each_setting
def test_a_flag_wins_over_its_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value = another(name)
    monkeypatch.setenv(variable(name), "not used, not even checked")
    assert getattr(load([flag(name), text]), name) == value


def test_settings_can_not_be_changed_later() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load([]).port = 1  # type: ignore[misc]  # that it may not is what we test


# What is refused

BAD = [
    *((name, text) for name in NUMBERS for text in ("many", "", "-1", "nan", "9" * 5000, "0x10")),
    *((name, text) for name in CHOICES for text in ("another", "")),
    *(("image_formats", text) for text in ("", ",", "jpeg,", "heic", "jpeg png", "[jpeg]")),
    *[("port", "65536"), ("workers", "0"), ("max_batch_size", "0"), ("predict_timeout", "0")],
    *(("remote", text) for text in ("", "s3://", "file://folder", "ftp://host/x", "s3://k:v@b")),
    *(
        (name, path)
        for name in ("s3_ca_bundle", "api_key_file", "tls_cert", "tls_key")
        for path in ("/nonexistent", "/", "long" * 100)
    ),
    *(("cors_origin", text) for text in ("", "app.example", "https://a/", "https://a,")),
    *[
        ("predict_timeout", "inf"),
        ("workers", "1.5"),
        ("port", "90 00"),
    ],
]


@pytest.mark.parametrize(("name", "text"), BAD)
def test_a_bad_value_of_a_flag_is_refused_in_one_line_that_names_it(name: str, text: str) -> None:
    assert refusal(f"{flag(name)}={text}").startswith(f"{flag(name)}: ")


@pytest.mark.parametrize(("name", "text"), [*BAD, ("port", "two\nlines")])
def test_a_bad_value_of_a_variable_is_refused_in_one_line_that_names_both(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable(name), text)
    sentence = refusal()
    assert sentence.startswith(f"{flag(name)} (from {variable(name)}=")


def test_the_port_that_kubernetes_sets_for_a_service_named_server_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SERVER_PORT", "tcp://10.0.0.1:9000")
    assert "SERVER_PORT='tcp://10.0.0.1:9000'" in refusal()
    assert load(["--port", "9001"]).port == 9001


@pytest.mark.parametrize(
    "arguments",
    [["--prot", "80"], ["--prot=80"], ["--por", "80"], ["photo.jpg"], ["--max_queue=1"]],
)
def test_an_unknown_flag_is_refused_in_one_line(arguments: list[str]) -> None:
    assert refusal(*arguments) == f"unrecognized arguments: {' '.join(arguments)}"


@each_setting
def test_a_flag_without_its_value_is_refused_by_its_name(name: str) -> None:
    assert f"argument {flag(name)}: expected one argument" in refusal(flag(name))


# The port


def test_the_port_is_told_by_its_flag_its_variable_or_port_in_this_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PORT", "8081")
    assert load([]).port == 8081
    monkeypatch.setenv("SERVER_PORT", "8082")
    assert load([]).port == 8082
    assert load(["--port", "8083"]).port == 8083


@pytest.mark.parametrize("text", ["", "http", "99999"])
def test_a_bad_value_of_port_is_refused_in_one_line_that_names_it(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", text)
    assert refusal().startswith(f"--port (from PORT={text!r}): ")


# Image formats


@pytest.mark.parametrize(
    ("text", "formats"),
    [
        ("jpeg", ("JPEG",)),
        ("jpg", ("JPEG",)),
        ("JPG, Png", ("JPEG", "PNG")),
        ("avif,tiff,bmp,gif", ("AVIF", "TIFF", "BMP", "GIF")),
    ],
)
def test_image_formats_are_named_as_people_name_them(text: str, formats: tuple[str]) -> None:
    limits = load(["--image-formats", text, "--max-pixels", "77"]).image_limits()
    assert (limits.formats, limits.max_pixels) == (formats, 77)


# Unknown variables


def test_variables_that_are_no_settings_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVER_PROT", "SERVER_SERVICE_HOST", "SERVER_PORT", "SERVERS", "MY_SERVER_X"):
        monkeypatch.setenv(name, "9001")
    assert settings.unknown_variables() == ["SERVER_PROT", "SERVER_SERVICE_HOST"]
    assert load([]).port == 9001


# The command line


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_help_lists_every_flag_with_its_default() -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    _, *entries = " ".join(done.stdout.split()).partition("options:")[2].split(" --")
    shown = {entry.split()[0]: entry for entry in entries}
    assert set(shown) == {"help", *(flag(name)[2:] for name in FIELDS)}
    for name, field in FIELDS.items():
        default = shown[flag(name)[2:]].partition("(default: ")[2]
        expected = field.default if isinstance(field.default, tuple) else [field.default or ""]
        assert all(str(each) in default for each in expected), name
        assert field.description
        assert field.description in shown[flag(name)[2:]].replace("- ", "-")


def test_a_bad_value_stops_the_start_with_one_line_and_exit_code_2() -> None:
    done = run("--port", "http")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("python -m server: --port: ")
    assert done.stderr.count("\n") == 1
