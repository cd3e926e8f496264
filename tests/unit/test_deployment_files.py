"""What can be known of the deployment files without Docker: all that they name exists here."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import yaml
from celery.bin.celery import celery as celery_command
from tornado.options import options as flower_options

from orderdrain.cli import main as orderdrain_command
from orderdrain.settings import variable_names
from workers.config import STEPS

CHECKOUT = Path(__file__).resolve().parents[2]
COMPOSE = CHECKOUT / "docker-compose.yml"
DOCKERFILE = CHECKOUT / "deploy" / "Dockerfile"
SERVICES = yaml.safe_load(COMPOSE.read_text())["services"]
COMMANDS = {
    name: shlex.split(service["command"][2].removeprefix("exec "))
    if service["command"][:2] == ["sh", "-c"]
    else service["command"]
    for name, service in SERVICES.items()
    if "build" in service
}


def test_everything_that_the_system_consists_of_is_a_service():
    """A deployment that lacks beat looks alive and does nothing."""
    assert set(SERVICES) == {
        "postgres",
        "redis",
        "migrate",
        "worker",
        "beat",
        "flower",
        "emulator",
        "accounts",
    }


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command[0] == "celery"])
def test_a_celery_command_and_its_options_exist(name):
    """Celery refuses an unknown option only when the container starts."""
    _, app_option, app, command, *options = COMMANDS[name]
    assert (app_option, app) == ("-A", "workers")
    assert (CHECKOUT / app / "celery.py").is_file()
    words = [option.split("=")[0] for option in options if option.startswith("-")]
    if command == "flower":
        importlib.import_module("flower.options")
        known = {f"--{option}" for option in flower_options.as_dict()}
        words = [word.replace("-", "_").replace("__", "--") for word in words]
    else:
        known = {word for option in celery_command.commands[command].params for word in option.opts}
    assert set(words) <= known


def test_the_worker_reads_the_queue_of_every_step():
    """A queue that nobody reads fills without a word."""
    (queues,) = [word.removeprefix("--queues=") for word in COMMANDS["worker"] if word.startswith("--queues=")]
    assert set(queues.split(",")) == {f"reports.{step}" for step in STEPS}


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command[0] == "python"])
def test_a_python_module_exists(name):
    """`python -m` of something that was renamed."""
    _, option, module, *_ = COMMANDS[name]
    assert option == "-m"
    assert importlib.util.find_spec(module)


@pytest.mark.parametrize("path", [COMPOSE, CHECKOUT / "deploy" / "README.md"], ids=lambda path: path.name)
def test_an_orderdrain_command_exists(path):
    """Also in comments and prose: that is where people copy them from."""
    told = re.findall(r'(?:`|worker |")orderdrain(?: |", ")([a-z]+)', path.read_text())
    assert told
    assert set(told) <= set(orderdrain_command.commands)


@pytest.mark.parametrize(
    "path",
    [COMPOSE, *(CHECKOUT / "deploy").iterdir(), CHECKOUT / "Makefile", CHECKOUT / ".ci" / "run"],
    ids=lambda path: path.name,
)
def test_every_setting_is_one_that_settings_knows(path):
    """A misspelt one would stop every process at its start."""
    assert set(re.findall(r"ORDERDRAIN_[A-Z_]*[A-Z]", path.read_text())) <= variable_names()


def test_no_service_has_a_default_password_or_listens_beyond_this_machine():
    """The compose file is what people run first and change last."""
    for secret in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "FLOWER_BASIC_AUTH"):
        uses = re.findall(rf"\$\{{{secret}[^}}]*\}}", COMPOSE.read_text())
        assert uses
        assert all(":?" in use for use in uses)
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_who_stores_or_reads_what_is_sealed_has_the_keys_and_nobody_else():
    """Without them a worker would keep buyers' data and a seller's token in clear, and no real seller be accepted."""
    holders = {name: service for name, service in SERVICES.items() if "secrets" in service}
    assert set(holders) == {"worker", "accounts"}
    for service in holders.values():
        (name,) = service["secrets"]
        assert service["environment"]["ORDERDRAIN_KEYS"] == f"/run/secrets/{name}"
        assert yaml.safe_load(COMPOSE.read_text())["secrets"][name]["file"].startswith("${KEYS_FILE:?")


def test_every_long_running_service_restarts_and_has_a_health_check():
    """`up` is not `well`."""
    lasting = {name: service for name, service in SERVICES.items() if name not in {"migrate", "accounts"}}
    assert {service["restart"] for service in lasting.values()} == {"unless-stopped"}
    assert [name for name, service in lasting.items() if "healthcheck" not in service] == []


def test_there_is_one_beat_and_time_for_a_worker_to_end():
    """Two beats send everything twice; a worker that is killed too early gives its work back late."""
    assert SERVICES["beat"]["deploy"]["replicas"] == 1
    assert SERVICES["worker"]["environment"]["REMAP_SIGTERM"] == "SIGQUIT"
    assert SERVICES["worker"]["stop_grace_period"] == "60s"


def test_images_are_pinned_by_version():
    """`latest` is another program every month."""
    images = [service["image"] for service in SERVICES.values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    assert [image for image in images if not re.search(r":\d+\.\d+", image)] == []


def test_the_image_holds_locked_packages_and_runs_without_root():
    """What pip finds on the day of the build is not what was tested."""
    text = DOCKERFILE.read_text()
    installs = re.findall(r"pip install .*", text)
    assert all("--require-hashes" in install or "--no-deps" in install for install in installs)
    assert re.search(r"^USER [1-9]\d*$", text, re.MULTILINE)


def test_what_the_image_copies_exists_and_is_not_ignored():
    """A file that .dockerignore hides fails the build only where there is a Docker."""
    lines = re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE.read_text(), re.MULTILINE)
    sources = [word for line in lines for word in line.split()[:-1]]
    allowed = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    assert [source for source in sources if not (CHECKOUT / source).exists() or f"!{source}" not in allowed] == []
