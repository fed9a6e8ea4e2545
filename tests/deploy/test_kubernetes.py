"""The Kubernetes manifests: valid, hardened, and of one mind with the server's settings."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.web.routes import ROUTES, SCOPES
from tests.deploy.manifests import (
    DATA,
    DEPLOY,
    GRACE,
    INSTALL,
    MARGIN,
    PORT,
    USER,
    accepted,
    read,
)

FILES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
OLDEST, NEWEST = "1.30", "1.37"


@pytest.fixture
def objects() -> dict[str, Any]:
    return {found["kind"]: found for found in map(read, FILES)}


@pytest.fixture
def pod(objects: dict[str, Any]) -> Any:
    return objects["StatefulSet"]["spec"]["template"]["spec"]


@pytest.fixture
def container(pod: Any) -> Any:
    (only,) = pod["containers"]
    return only


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_manifests_conform_to_the_schemas(version: str, objects: dict[str, Any]) -> None:
    schemas = pytest.importorskip("kubernetes_validate", reason=INSTALL)
    for found in objects.values():
        assert schemas.validate(found, version, strict=True) == version


def test_a_key_that_kubernetes_does_not_know_is_found(
    objects: dict[str, Any], container: Any
) -> None:
    schemas = pytest.importorskip("kubernetes_validate", reason=INSTALL)
    container["securityContext"]["readOnlyRootFileSystem"] = True
    with pytest.raises(schemas.ValidationError, match="readOnlyRootFileSystem"):
        schemas.validate(objects["StatefulSet"], NEWEST, strict=True)


def test_the_server_takes_its_variables_and_finds_its_files(
    objects: dict[str, Any], container: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = objects["ConfigMap"]["data"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(accepted(variables, tmp_path, monkeypatch).data_dir) == DATA == mounts["data"]
    assert variables["SERVER_API_KEY_FILE"] == f"{mounts['keys']}/keys"
    assert "tmp" in mounts


def test_the_objects_find_each_other(objects: dict[str, Any], pod: Any, container: Any) -> None:
    workload = objects["StatefulSet"]["spec"]
    labels = workload["template"]["metadata"]["labels"]
    assert objects["Service"]["spec"]["selector"] == labels
    assert workload["selector"]["matchLabels"] == labels
    assert objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert workload["serviceName"] == objects["Service"]["metadata"]["name"]
    told = [source["configMapRef"] for source in container["envFrom"] if "configMapRef" in source]
    assert told == [{"name": objects["ConfigMap"]["metadata"]["name"]}]
    there = [*workload["volumeClaimTemplates"], *pod["volumes"]]
    names = {volume.get("name") or volume["metadata"]["name"] for volume in there}
    assert {mount["name"] for mount in container["volumeMounts"]} == names


def test_the_ports_are_the_servers(objects: dict[str, Any], container: Any) -> None:
    (port,) = container["ports"]
    (offered,) = objects["Service"]["spec"]["ports"]
    assert (port["containerPort"], offered["port"]) == (PORT, PORT)
    assert offered["targetPort"] == port["name"]


def test_the_probes_ask_what_needs_no_key(container: Any) -> None:
    probes = {key: value for key, value in container.items() if key.endswith("Probe")}
    asked = {name.removesuffix("Probe"): probe["httpGet"]["path"] for name, probe in probes.items()}
    assert asked == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
    unlocked = {route.path for route in ROUTES if SCOPES.get(route.handler, "a key") is None}
    assert set(asked.values()) <= unlocked


def test_a_stop_takes_no_longer_than_kubernetes_waits(pod: Any, container: Any) -> None:
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= before + GRACE + MARGIN


def test_the_pod_passes_the_restricted_standard(pod: Any, container: Any) -> None:
    """What the Pod Security Standards' level "restricted" asks for, and no writable root."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert set(_users(pod["securityContext"])) == {USER}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod)
    assert {"cpu", "memory"} <= set(container["resources"]["limits"])


def _users(context: dict[str, Any]) -> Iterator[int]:
    yield from (context[name] for name in ("runAsUser", "runAsGroup", "fsGroup"))
