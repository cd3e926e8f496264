"""Celery takes a misspelt setting, option or route in silence. Here each is compared with what really reads it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from celery import Task
from celery.app.defaults import NAMESPACES, flatten
from kombu.transport.redis import Channel

import beat_schedule
from orderdrain.settings import load
from workers.config import STEPS, UNROUTED, configuration

ROOT = Path(__file__).resolve().parents[2]
NEEDED = {"ORDERDRAIN_DATABASE_URL": "postgresql://127.0.0.1:1/none", "ORDERDRAIN_REDIS_URL": "redis://127.0.0.1:1/0"}
QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/orderdrain"
#: Read by Celery's result backends themselves (celery.backends.base), under this name.
READ_BY_RESULT_BACKENDS = {"global_keyprefix"}


def configured(tmp_path, **told):
    return configuration(load({**NEEDED, **told}, start=tmp_path))


@pytest.fixture
def config(tmp_path):
    return configured(tmp_path)


@pytest.fixture(scope="module")
def tasks():
    """Every task of the application, by name. Importing it needs settings, and connects to nothing."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in NEEDED.items():
            if name not in os.environ:
                patched.setenv(name, value)
        import tasks as module
        from workers.celery import app

        app.finalize()
        assert module.sweep.name == "reports.sweep"
        return {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}


def unknown_settings(config):
    return set(config) - set(dict(flatten(NAMESPACES)))


def unknown_transport_options(options):
    return set(options) - set(Channel.from_transport_options)


def unknown_attributes(task):
    """What stands on a task or on its base class and is read by nobody: neither by Celery nor, as `step`, by us."""
    kinds = type(task).__mro__
    set_here = {name for kind in kinds[: kinds.index(Task)] for name in vars(kind)} | set(vars(task))
    put_there_by_celery = {"run", "name", "app", *(name for name, _ in Task.from_config)}
    return {name for name in set_here if not name.startswith("_")} - set(dir(Task)) - put_there_by_celery - {"step"}


# --------------------------------------------------------------------------------------------------- misspelt names


def test_every_setting_is_one_that_celery_reads(config):
    """`task_ack_late` would be no error: it would be early acknowledgement."""
    assert unknown_settings(config) == set()
    assert unknown_settings({**config, "task_ack_late": True}) == {"task_ack_late"}


def test_every_transport_option_is_one_that_the_redis_transport_reads(config):
    """A misspelt visibility_timeout would be one of an hour, whatever we wrote."""
    options = config["broker_transport_options"]
    assert unknown_transport_options(options) == set()
    assert unknown_transport_options({**options, "visibility_timeut": 1}) == {"visibility_timeut"}
    assert set(config["result_backend_transport_options"]) <= READ_BY_RESULT_BACKENDS


def test_every_option_of_a_task_is_one_that_celery_reads(tasks):
    """In a decorator a misspelt option is an attribute that nobody asks for."""
    for task in tasks.values():
        assert unknown_attributes(task) == set(), task.name
    task = tasks["reports.sweep"]
    task.soft_timelimit = 1
    try:
        assert unknown_attributes(task) == {"soft_timelimit"}
    finally:
        del task.soft_timelimit


# ---------------------------------------------------------------------------------------------------- tasks, queues


def test_the_tasks_are_the_steps_by_their_stable_names(tasks):
    """A renamed task would orphan the messages that are on their way."""
    assert set(tasks) == {f"reports.{step}" for step in STEPS}


def test_every_task_has_a_route_to_a_declared_queue(tasks, config):
    """Without one it goes to the queue that nobody reads."""
    queues = {queue.name for queue in config["task_queues"]}
    for name in tasks:
        assert config["task_routes"][name]["queue"] in queues - {UNROUTED}
    assert set(config["task_routes"]) == set(tasks)
    assert config["task_default_queue"] == UNROUTED in queues
    assert config["task_create_missing_queues"] is False


class _Commands:
    """Takes down the command of each process instead of starting it."""

    def __init__(self):
        self.argv = []

    def spawn_telling(self, _name, argv, **_how):
        self.argv.append(argv)


def test_the_worker_of_the_embedded_stack_reads_every_queue_but_the_unrouted_one(tmp_path, config):
    """A queue that no worker reads fills up in silence; in the unrouted one that is the alarm."""
    from workers.local import RunningStack

    commands = _Commands()
    RunningStack(tmp_path, {}, commands).add_worker()
    (argv,) = commands.argv

    read = argv[argv.index("-Q") + 1].split(",")
    assert sorted([*read, UNROUTED]) == sorted(queue.name for queue in config["task_queues"])


def test_nothing_in_the_broker_can_run_code(config):
    """JSON only, in every direction."""
    assert config["accept_content"] == ["json"]
    assert {config[f"{what}_serializer"] for what in ("task", "result", "event")} == {"json"}


def test_a_task_body_is_policy_and_one_call(tasks):
    """What a step does is read in pipeline.py; a task that grows hides a part of it."""
    bodies = {}
    for path in sorted((ROOT / "tasks").glob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and any("app.task" in ast.unparse(d) for d in node.decorator_list):
                bodies[node.name] = sum(isinstance(part, ast.stmt) for part in ast.walk(node)) - 2
    assert len(bodies) == len(tasks)
    assert max(bodies.values()) <= 8, bodies


# ---------------------------------------------------------------------------------------------------- time and loss


def test_no_task_outlives_the_visibility_timeout(tasks, config):
    """A task that does is delivered again while it runs, and again, for ever: a fourfold distance."""
    longest = max([task.time_limit or config["task_time_limit"] for task in tasks.values()])
    assert longest * 4 <= config["broker_transport_options"]["visibility_timeout"]


def test_a_step_is_asked_to_end_before_it_is_killed(tasks):
    """Within the soft limit's minute the ledger is settled: a killed step costs a lease's time."""
    for task in tasks.values():
        assert 30 <= task.time_limit - task.soft_time_limit <= 60, task.name


def test_messages_are_acknowledged_late_and_never_requeued_by_a_death(tasks, config):
    """The lease counts what kills its worker; a broker that redelivers it at once would make it a hot loop."""
    for task in tasks.values():
        assert task.acks_late
        assert task.ignore_result
        assert task.max_retries == 0
        assert not task.reject_on_worker_lost
    assert config["task_acks_late"]
    assert config["worker_prefetch_multiplier"] == 1
    assert config["task_reject_on_worker_lost"] is False


@pytest.mark.parametrize("speed", ["1", "10", "60", "600"])
def test_every_tick_is_of_a_task_that_exists_and_expires(tmp_path, tasks, speed):
    """Else ticks pile up for as long as no worker runs, and all run when one does."""
    ticks = configured(tmp_path, ORDERDRAIN_BEAT_SPEED=speed, ORDERDRAIN_NOTIFICATIONS=QUEUE)["beat_schedule"]

    assert set(ticks) == set(beat_schedule.SCHEDULE)
    for name, tick in ticks.items():
        assert tick["task"] in tasks, name
        assert tick["schedule"] < tick["options"]["expires"] <= 100 * tick["schedule"], name
        assert 1 <= tick["schedule"] <= beat_schedule.SCHEDULE[name]["schedule"]


def test_without_a_queue_nobody_is_told_to_listen(config):
    """Six no-ops a minute would be all that Flower shows."""
    assert set(beat_schedule.SCHEDULE) - set(config["beat_schedule"]) == {"listen"}


def test_ticks_last_longer_than_clocks_are_apart(tmp_path):
    """A worker compares a tick's end with its own clock: one that is ten minutes ahead of beat's must still take them."""
    ticks = configured(tmp_path)["beat_schedule"]

    assert min(tick["options"]["expires"] for tick in ticks.values()) >= 600


def test_no_password_is_in_what_celery_shows(tmp_path):
    """`celery report` is what one is asked for in a forum, and Flower shows the same."""
    env = {**os.environ, **NEEDED, "ORDERDRAIN_REDIS_URL": "redis://:hidden-password@127.0.0.1:1/0"}
    said = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers", "report"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "visibility_timeout" in said.stdout
    assert "hidden-password" not in said.stdout + said.stderr
