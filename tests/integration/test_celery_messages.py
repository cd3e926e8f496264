"""Messages on a real Redis: each step's goes to its own queue, carries ids and nothing else, and can be found."""

from __future__ import annotations

import base64
import json
import re

import pytest
from celery import Celery

from orderdrain.redis_client import connect
from orderdrain.settings import load
from workers.config import STEPS, UNROUTED, configuration

IDS = {"account": "acme", "api": "mws", "report_id": "50123456789"}


@pytest.fixture
def app(database_url, redis_url, tmp_path):
    """An app configured as ours, for this test's Redis, all of its queues declared as a worker declares them."""
    app = Celery("messages", set_as_current=False)
    environ = {"ORDERDRAIN_DATABASE_URL": database_url, "ORDERDRAIN_REDIS_URL": redis_url}
    app.conf.update(configuration(load(environ, start=tmp_path)))
    with app.connection_for_write() as connection:
        for queue in app.amqp.queues.values():
            queue(connection.default_channel).declare()
    yield app
    app.close()


@pytest.fixture
def redis(redis_url):
    client = connect(redis_url)
    yield client
    client.close()


def lengths(redis):
    """Every queue that holds a message, under the name that it has in Redis."""
    return {key.decode(): redis.llen(key) for key in redis.keys("*") if redis.type(key) == b"list"}


@pytest.mark.parametrize("step", STEPS)
def test_a_steps_message_goes_to_its_queue_and_to_no_other(app, redis, step):
    """A worker of heavy steps alone would else never see it, or see all."""
    app.send_task(f"reports.{step}", kwargs=IDS)

    assert lengths(redis) == {f"od:reports.{step}": 1}


def test_a_message_carries_its_ids_as_json_and_nothing_else(app, redis):
    """Whoever can read the broker reads no order."""
    app.send_task("reports.download", kwargs=IDS, task_id="50123456789.download.41ea2385")

    message = json.loads(redis.lindex("od:reports.download", 0))
    assert message["content-type"] == "application/json"
    assert message["headers"]["id"] == "50123456789.download.41ea2385"
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    assert (args, kwargs) == ([], IDS)
    assert message["headers"]["eta"] is None


def test_a_task_that_nobody_routed_is_found_in_the_queue_that_should_be_empty(app, redis):
    """It must not mix with work, and it must be seen."""
    app.send_task("reports.misspelt", kwargs=IDS)
    assert lengths(redis) == {f"od:{UNROUTED}": 1}


def test_every_key_in_redis_has_our_prefix(app, redis):
    """One Redis may be shared, and an ACL can name what is ours: messages, results, bindings."""
    app.send_task("reports.sweep")
    app.backend.store_result("some-id", "swept", "SUCCESS")

    keys = [key.decode() for key in redis.keys("*")]
    assert keys
    assert all(re.match(r"od:", key) for key in keys), keys


def test_a_stored_result_ends_by_itself(app, redis):
    """Results are kept for who waits at a shell, not as a second ledger."""
    app.backend.store_result("some-id", "swept", "SUCCESS")
    assert 0 < redis.ttl("od:celery-task-meta-some-id") <= 600
