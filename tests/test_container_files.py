"""Dockerfile, compose.yaml, devcontainer and workflow fit the project; `python -m tests.container` tries the first."""

import json
import re
import tomllib
from pathlib import Path

import yaml
from container import arguments, instructions

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = instructions((ROOT / "Dockerfile").read_text())
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
ENV = dict(re.findall(r"(\w+)=(\S+)", " ".join(rest for word, rest in DOCKERFILE if word == "ENV")))


def last(word: str) -> str:
    return [rest for name, rest in DOCKERFILE if name == word][-1]


def test_what_is_copied_is_there_and_is_all_that_the_app_needs() -> None:
    copied = {source for word, rest in DOCKERFILE if word == "COPY" for source in rest.split()[:-1]}
    assert all((ROOT / source).exists() for source in copied)
    assert copied == {"requirements.lock", "requirements.txt", "app.py", "pages", "cifar_core", ".streamlit"}
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ".streamlit/secrets.toml" in ignored and not copied & set(ignored)


def test_it_starts_as_the_readme_does_with_an_address_and_a_port() -> None:
    start = re.search(r"&& (streamlit run app\.py)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    shell, option, command = arguments(last("CMD"))
    assert (shell, option) == ("sh", "-c")
    assert command == f"exec {start[1]} --server.address 0.0.0.0 --server.port $PORT"
    assert "PORT" in last("HEALTHCHECK") and "/_stcore/health" in last("HEALTHCHECK")


def test_it_installs_by_hash_and_is_not_root() -> None:
    assert any("--require-hashes -r requirements.lock" in rest for word, rest in DOCKERFILE if word == "RUN")
    assert last("USER").split(":")[0] not in ("root", "0")
    low, high = re.findall(
        r"3\.(\d+)", tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    )
    assert int(low) <= int(re.search(r"python:3\.(\d+)", last("FROM"))[1]) < int(high)


def test_all_that_is_written_goes_to_the_volume() -> None:
    assert all(ENV[name].startswith(last("VOLUME")) for name in ("HOME", "TMPDIR", "CIFAR_RUNS_DIR"))


def test_compose_waits_for_a_healthy_database_and_starts_the_worker_when_asked() -> None:
    services = COMPOSE["services"]
    assert services["sweep-worker"]["profiles"] and "profiles" not in services["app"]
    assert services["database"]["healthcheck"]["test"]
    for name in ("app", "sweep-worker", "worker"):
        service = services[name]
        assert service["depends_on"]["database"]["condition"] == "service_healthy" and service["read_only"]
        assert "@${DATABASE:-database}/" in service["environment"]["CIFAR_SWEEP_STORAGE"]
        volume, place = service["volumes"][0].split(":")
        assert (volume in COMPOSE["volumes"], place) == (True, last("VOLUME"))
    assert services["app"]["ports"][0] == f"127.0.0.1:${{PORT:-{ENV['PORT']}}}:{ENV['PORT']}"
    assert services["worker"]["profiles"] and services["worker"]["command"] == "python -m cifar_core runs worker"
    assert services["database"]["ports"][0].startswith("${DATABASE_ADDRESS:-127.0.0.1}:")
    assert services["sweep-worker"]["command"].startswith("python -m cifar_core sweep worker --study ")


def test_the_workflow_runs_ci_and_the_devcontainer_installs_what_the_readme_does() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert ".ci/run" in [step.get("run") for step in jobs["tests"]["steps"]]
    assert any("--require-hashes -r requirements.lock" in step.get("run", "") for step in jobs["lock"]["steps"])
    devcontainer = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert devcontainer["postCreateCommand"].startswith("pip install -e '.[dev]'")
