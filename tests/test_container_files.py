"""Dockerfile and compose.yaml, as far as they can be tried without a container engine."""

import json
import re
import subprocess
import sys

import pytest

from at_worker.config import load, variables
from at_worker.durations import seconds
from at_worker.engine.probes import Probes
from tests.readme import ROOT, blocks

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
FINAL = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")


def instruction(name: str) -> str:
    """What an instruction of the final stage says; it stands there once."""
    (found,) = re.findall(rf"^{name} +(.*)$", FINAL, re.MULTILINE)
    return str(found)


def service(name: str) -> str:
    """The lines of one service."""
    _, _, rest = COMPOSE.partition(f"\n  {name}:\n")
    return re.split(r"\n {0,2}\S", rest, maxsplit=1)[0]


def health_check(port: int) -> int:
    """Run what the image runs to learn whether its worker lives."""
    python, *arguments = json.loads(instruction("HEALTHCHECK").partition("CMD")[2])
    assert python == "python"
    environment = {"METRICS_PORT": str(port)}
    return subprocess.run([sys.executable, *arguments], env=environment, check=False).returncode


def test_the_worker_is_the_first_process_and_gets_the_signals() -> None:
    assert json.loads(instruction("ENTRYPOINT")) == ["at-worker"]
    assert instruction("STOPSIGNAL") == "SIGTERM"


def test_the_image_runs_as_a_numeric_user_that_is_not_root() -> None:
    user, group = instruction("USER").split(":")
    assert int(user) > 0
    assert int(group) > 0


def test_the_environment_of_the_image_is_a_valid_configuration_with_probes() -> None:
    given = dict(re.findall(r"(\w+)=(\S+)", instruction("ENV")))
    ours = {variable.name for variable in variables()}
    settings = load({name: value for name, value in given.items() if name in ours}, ())
    assert (settings.metrics_host, settings.metrics_port) == ("0.0.0.0", int(instruction("EXPOSE")))  # noqa: S104 - in a container


def test_the_image_is_healthy_while_healthz_answers() -> None:
    with Probes("127.0.0.1", 0, {"/healthz": lambda: None}) as probes:
        assert health_check(probes.port) == 0


@pytest.mark.parametrize("path", ["/healthz", "/elsewhere"])
def test_the_image_is_unhealthy_when_healthz_does_not_say_ok(path: str) -> None:
    with Probes("127.0.0.1", 0, {path: lambda: "something is wrong"}) as probes:
        assert health_check(probes.port) == 1


def test_what_the_image_copies_exists_and_reaches_the_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists()
            assert f"!{source}" in ignored


def test_the_stage_for_plugins_in_the_readme_fits_the_image() -> None:
    (stage,) = blocks("dockerfile")
    (python,) = re.findall(r"^ARG PYTHON=((\d+\.\d+)\S*)$", DOCKERFILE, re.MULTILINE)
    assert f"FROM python:{python[0]} AS" in stage
    (place,) = re.findall(r"venv --without-pip (\S+)", DOCKERFILE)
    assert f"{place}/lib/python{python[1]}/site-packages" in stage


def test_dependencies_are_checked_by_their_hashes() -> None:
    installs = re.findall(r"pip (?:--python \S+ )?(?:download|install) ([^&\n]*)", DOCKERFILE)
    assert installs
    assert all("--require-hashes" in install or "--no-index" in install for install in installs)


@pytest.mark.parametrize("image", re.findall(r"^ +image: (\S+)$", COMPOSE, re.MULTILINE))
def test_every_image_of_compose_has_a_version(image: str) -> None:
    assert re.fullmatch(r"[a-z/-]+:(?!latest)\S+", image)


def test_compose_waits_longer_for_a_worker_than_the_worker_for_its_tasks() -> None:
    (grace,) = re.findall(r"stop_grace_period: (\S+)", service("at-worker"))
    assert seconds(grace, "s") > load({}, ()).shutdown_timeout + 2


@pytest.mark.parametrize("key", ["container_name", "ports", "hostname"])
def test_nothing_keeps_compose_from_starting_several_workers(key: str) -> None:
    assert "command:" in service("at-worker")
    assert f"{key}:" not in service("at-worker")


@pytest.mark.parametrize(
    "line", ["read_only: true", "cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]']
)
def test_a_worker_of_compose_can_do_no_more_than_it_needs(line: str) -> None:
    assert f"    {line}\n" in service("at-worker") + "\n"


def test_the_settings_of_compose_are_valid() -> None:
    given = dict(re.findall(r'^      ([A-Z_]+): "?(.*?)"?$', service("at-worker"), re.MULTILINE))
    assert given.keys() <= {variable.name for variable in variables()}
    settings = load({name: re.sub(r"\$\{\w+:-(\w+)\}", r"\1", value) for name, value in given.items()}, ())
    assert (settings.smtp_tls, settings.db_password) == ("none", "development")
