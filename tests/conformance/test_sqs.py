"""Two queue services, moto's and the emulator's own, do the same for our queue and for boto3's client."""

from __future__ import annotations

import hashlib
import itertools
import time

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from orderdrain.errors import DependencyDown
from orderdrain.notifications import Queue, read_notice
from tests.building import in_a_fork
from tests.emulator_process import Emulator

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def servers():
    """Both, each by its address."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    moto.start()
    with Emulator.start(orders_per_minute=0, backlog=0, sp_api_sellers="bravo") as emulator:
        yield {"moto": "http://{}:{}".format(*moto.get_host_and_port()), "emulator": emulator.url, "of": emulator}
    moto.stop()


@pytest.fixture(params=["moto", "emulator"])
def sqs(request, servers):
    """Boto3's client of one of them."""
    return client(servers[request.param])


@pytest.fixture
def url(sqs):
    """A queue of this test alone."""
    return sqs.create_queue(QueueName=f"queue-{next(NUMBERS)}")["QueueUrl"]


def client(address):
    return boto3.session.Session().client(
        "sqs", endpoint_url=address, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )


def receive(sqs, url, **options):
    options = {"MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"], **options}
    return sqs.receive_message(QueueUrl=url, **options).get("Messages", [])


def test_a_message_comes_as_it_was_sent_and_counts_how_often(sqs, url):
    """The MD5 is by what clients check it."""
    body = '{"ä": "€", "tab": "\\t"}'
    sent = sqs.send_message(QueueUrl=url, MessageBody=body)
    assert sent["MD5OfMessageBody"] == hashlib.md5(body.encode()).hexdigest()

    for times in (1, 2):
        (message,) = receive(sqs, url, VisibilityTimeout=0)
        assert (message["Body"], message["MessageId"]) == (body, sent["MessageId"])
        assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
        assert message["Attributes"]["ApproximateReceiveCount"] == str(times)


def test_what_somebody_has_in_hand_nobody_else_gets_until_it_is_given_back(sqs, url):
    """Two listeners of one queue share its messages."""
    sqs.send_message(QueueUrl=url, MessageBody="one")
    (message,) = receive(sqs, url, VisibilityTimeout=600)
    assert receive(sqs, url) == []

    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)

    assert [again["MessageId"] for again in receive(sqs, url)] == [message["MessageId"]]


def test_ten_at_a_time_until_all_are_deleted(sqs, url):
    """A batch is ten, in every direction."""
    for _ in range(2):
        sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": str(n)} for n in range(8)])
    queue = Queue(url)

    bodies = []
    while messages := queue.receive(wait_seconds=0, hidden_seconds=60):
        assert len(messages) <= 10
        bodies += [message.body for message in messages]
        queue.delete(messages)

    assert sorted(bodies) == sorted([str(n) for n in range(8)] * 2)
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert {told["ApproximateNumberOfMessages"], told["ApproximateNumberOfMessagesNotVisible"]} == {"0"}


def test_a_long_poll_ends_when_a_message_comes(sqs, url):
    """It is no sleep: what comes meanwhile is there at once."""
    sqs.send_message(QueueUrl=url, MessageBody="soon", DelaySeconds=1)
    began = time.monotonic()

    assert [message["Body"] for message in receive(sqs, url, WaitTimeSeconds=20)] == ["soon"]

    assert time.monotonic() - began < 19


def test_a_batch_tells_of_each_entry_by_itself(sqs, url):
    """One receipt handle that is none must not keep the others."""
    sqs.send_message(QueueUrl=url, MessageBody="one")
    (message,) = receive(sqs, url, VisibilityTimeout=600)

    answer = sqs.delete_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "good", "ReceiptHandle": message["ReceiptHandle"]},
            {"Id": "bad", "ReceiptHandle": "bm9uZQ=="},
        ],
    )

    assert [done["Id"] for done in answer["Successful"]] == ["good"]
    assert [(failed["Id"], failed["Code"]) for failed in answer["Failed"]] == [("bad", "ReceiptHandleIsInvalid")]


def test_a_queue_that_is_not_there_says_so_in_one_line(sqs, url):
    """A misspelt setting, or rights that were taken away."""
    queue = Queue(f"{url}-misspelt")
    for use in (lambda: queue.receive(wait_seconds=0, hidden_seconds=1), queue.ask):
        with pytest.raises(DependencyDown, match=r"^the queue \S+-misspelt refuses \w+: [\w.]*NonExistentQueue \("):
            use()
    with pytest.raises(ClientError):
        sqs.get_queue_url(QueueName="misspelt")


def test_a_service_that_does_not_answer_is_a_dependency_that_is_down():
    """The listing goes on; the line says what does not answer."""
    with pytest.raises(
        DependencyDown, match=r"^the queue http://127\.0\.0\.1:1/1/q does not answer: Could not connect"
    ):
        Queue("http://127.0.0.1:1/1/q").ask()


def test_a_forked_process_opens_its_own_connections(sqs, url):
    """Celery forks: two processes on one connection would read each other's answers."""
    queue = Queue(url)
    queue.ask()
    ours = queue._sqs()
    assert in_a_fork(lambda: "own" if queue._sqs() is not ours else "shared") == "own"


# ------------------------------------------------------------------------------------------------- the emulator's alone


@pytest.fixture
def emulator(servers):
    return servers["of"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"WaitTimeSeconds": 21}, "InvalidParameterValue"),
        ({"MaxNumberOfMessages": 11}, "InvalidParameterValue"),
        ({"VisibilityTimeout": 43_201}, "InvalidParameterValue"),
    ],
)
def test_the_emulator_knows_the_documented_bounds(emulator, options, code):
    """A client that asks for more must not learn it from the real one."""
    with pytest.raises(ClientError, match=code):
        receive(client(emulator.url), emulator.first_line["sqs"], **options)


def test_an_old_receipt_deletes_nothing(emulator):
    """Who was too slow holds nothing any more: the message is another's by now (documentation of SQS)."""
    sqs = client(emulator.url)
    url = sqs.create_queue(QueueName="slow")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="one")
    (old,) = receive(sqs, url, VisibilityTimeout=0)
    (new,) = receive(sqs, url, VisibilityTimeout=0)

    sqs.delete_message(QueueUrl=url, ReceiptHandle=old["ReceiptHandle"])
    assert len(receive(sqs, url, VisibilityTimeout=0)) == 1
    sqs.delete_message(QueueUrl=url, ReceiptHandle=receive(sqs, url, VisibilityTimeout=0)[0]["ReceiptHandle"])
    assert receive(sqs, url) == []
    assert new["MessageId"] == old["MessageId"]


def test_emulated_time_brings_a_hidden_message_back(emulator):
    """A minute is a minute of the emulator's, as everything there."""
    sqs = client(emulator.url)
    url = sqs.create_queue(QueueName="hidden")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="one")
    assert len(receive(sqs, url, VisibilityTimeout=600)) == 1
    assert receive(sqs, url) == []

    emulator.post("/_emulator/advance", {"seconds": 601})

    assert len(receive(sqs, url)) == 1


def test_a_message_that_nobody_deletes_is_gone_after_four_days(emulator):
    """SQS's default retention."""
    sqs = client(emulator.url)
    url = sqs.create_queue(QueueName="old")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="one")

    emulator.post("/_emulator/advance", {"seconds": 5 * 86_400})

    assert receive(sqs, url) == []


def test_the_emulator_tells_for_how_long_its_oldest_message_has_waited():
    """Also while somebody has it in hand: what comes again and again has never left."""
    with Emulator.start(orders_per_minute=0, backlog=0, sellers=1) as emulator:

        def age():
            return emulator.get("/_emulator/notifications")["oldest_seconds"]

        queue = Queue(emulator.first_line["sqs"])
        assert age() == 0
        for body in ("one", "two"):
            emulator.post("/_emulator/notifications", {"body": body})
            emulator.post("/_emulator/advance", {"seconds": 100})
        one, two = queue.receive(wait_seconds=0, hidden_seconds=60)
        assert 200 <= age() < 260

        queue.delete([one])
        assert 100 <= age() < 160

        queue.delete([two])
        assert age() == 0


@pytest.mark.parametrize("api", ["mws", "sp-api"])
@pytest.mark.parametrize(
    ("fault", "bodies"),
    [
        (None, ["DONE"]),
        ("lost_notice", []),
        ("doubled_notice", ["DONE", "DONE"]),
        ("forged_notice", ["DONE", "DONE"]),
        ("malformed_notice", ["DONE", "malformed"]),
        ("foreign_type_notice", ["DONE", "other"]),
        ("foreign_seller_notice", ["DONE", "DONE"]),
    ],
)
def test_what_ends_is_announced_some_seconds_later_and_as_ordered(api, fault, bodies):
    """Each kind of fault can be had on purpose."""
    name = {"mws": "acme", "sp-api": "bravo"}[api]
    with Emulator.start(orders_per_minute=0, backlog=0, sp_api_sellers="bravo") as emulator:
        queue = Queue(emulator.first_line["sqs"])
        if fault:
            emulator.post("/_emulator/faults", {"operation": "notification", "fault": fault, "account": name})
        (report_id,) = emulator.post("/_emulator/reports", {"account": name, "api": api})["report_ids"]
        emulator.post("/_emulator/advance", {"seconds": 6})

        messages = queue.receive(wait_seconds=0, hidden_seconds=60)

        assert [said(message.body) for message in messages] == bodies
        if bodies:
            notice = read_notice(messages[0].body)
            assert (notice.api, notice.report_id) == (api, report_id)
            assert notice.seller_id == emulator.account(name)["seller_id"]
        assert [told["fault"] for told in emulator.get("/_emulator/notifications")["published"]] == [fault]


def test_an_early_notice_names_a_report_that_cannot_be_fetched_yet():
    """It is in work for 13 seconds, and announced at once."""
    with Emulator.start(orders_per_minute=60, backlog=0, sellers=1, sp_api_sellers="acme") as emulator:
        emulator.post("/_emulator/faults", {"operation": "notification", "fault": "early_notice", "next": 9})
        queue, messages = Queue(emulator.first_line["sqs"]), []
        while not messages:
            emulator.post("/_emulator/advance", {"seconds": 5})
            messages = queue.receive(wait_seconds=0, hidden_seconds=60)

        (published,) = emulator.get("/_emulator/notifications")["published"]
        told = {report["report_id"]: report for report in emulator.get("/_emulator/truth")["told_reports"]}
        assert read_notice(messages[0].body).report_id == published["report_id"]
        assert published["report_id"] not in told


def said(body):
    try:
        notice = read_notice(body)
    except ValueError:
        return "malformed"
    return notice.status if notice else "other"
