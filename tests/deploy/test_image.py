"""The Dockerfile, and what the manifests take for granted of it."""

import re

import pytest

from tests.deploy.manifests import DATA, DOCKERFILE, PORT, USER


@pytest.fixture
def instructions() -> dict[str, str]:
    """The last of each instruction."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    return dict(re.findall(r"^([A-Z]+)\s+(.*)$", text, re.MULTILINE))


def test_the_image_has_the_user_port_and_volume_of_the_manifests(
    instructions: dict[str, str],
) -> None:
    assert instructions["EXPOSE"] == str(PORT)
    assert instructions["VOLUME"] == DATA
    assert re.findall(r"--uid[ =](\d+)", DOCKERFILE.read_text()) == [str(USER)]


def test_the_image_is_told_to_stop_and_asked_for_its_health_as_compose_does(
    instructions: dict[str, str],
) -> None:
    assert instructions["STOPSIGNAL"] == "SIGTERM"
    assert "HEALTHCHECK" in instructions
    assert '"-m", "server"' in instructions["ENTRYPOINT"]
