"""The files in infra/ are valid YAML and consistent with each other and with the project; test_compose.py runs compose.yaml's services."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
INFRA = ROOT / "infra"
FILES = sorted(INFRA.rglob("*.yaml"))


def read(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_file_is_valid_yaml(path: Path) -> None:
    assert isinstance(read(path), dict)


def test_compose_services_volumes_and_variables_exist() -> None:
    compose = read(INFRA / "compose.yaml")
    services = compose["services"]
    assert {"postgres", "s3", "mlflow", "head", "worker"} <= services.keys()
    for name, service in services.items():
        needed = service.get("depends_on", [])
        assert set(needed) <= services.keys(), name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: {port} is open to others"
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in compose["volumes"]
        assert service.get("build", {}).get("dockerfile", "infra/Dockerfile") == "infra/Dockerfile"
    published = {port.rpartition(":")[2] for service in services.values() for port in service.get("ports", [])}
    assert published == {"5000", "8265", "8333"}  # MLflow, Ray and S3 are for programs outside the containers too
    wanted = set(re.findall(r"\$\{(\w+)", (INFRA / "compose.yaml").read_text()))
    given = set(re.findall(r"^(\w+)=", (INFRA / "env.example").read_text(), re.M))
    assert wanted == given


def test_dockerfile_copies_existing_paths() -> None:
    for line in (INFRA / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY"):
            *sources, _ = [word for word in line.split()[1:] if not word.startswith("--")]
            assert [source for source in sources if not (ROOT / source).exists()] == []


@pytest.mark.parametrize(("name", "kind"), [("raycluster", "RayCluster"), ("rayjob", "RayJob")])
def test_kuberay_manifest_has_pinned_version_and_valid_volumes(name: str, kind: str) -> None:
    manifest = read(INFRA / f"kuberay/{name}.yaml")
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", kind)
    spec = manifest["spec"] if kind == "RayCluster" else manifest["spec"]["rayClusterSpec"]
    pinned = re.search(r"^ray==(\S+)", (ROOT / "constraints.txt").read_text(), re.M)
    assert pinned is not None and spec["rayVersion"] == pinned[1]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            assert container["resources"]["limits"] == container["resources"]["requests"]
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_launcher_head_and_limits_name_existing_node_types() -> None:
    launcher = read(INFRA / "ray/aws.yaml")
    assert launcher["head_node_type"] in launcher["available_node_types"]
    assert all(
        node["max_workers"] <= launcher["max_workers"]
        for node in launcher["available_node_types"].values()
        if "max_workers" in node
    )


def test_launcher_file_matches_schema_of_ray() -> None:
    import json

    import jsonschema
    import ray

    schema = json.loads((Path(ray.__file__).parent / "autoscaler/ray-schema.json").read_text())
    jsonschema.validate(read(INFRA / "ray/aws.yaml"), schema)
