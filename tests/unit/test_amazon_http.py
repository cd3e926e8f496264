"""What holds of both clients of Amazon, whichever API they speak: answers that end badly, connections, nothing beyond quota."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from orderdrain.amazon.http import emulator_at
from orderdrain.errors import BadBody, ServiceFault, Throttled
from tests import scripted_mws, scripted_sp_api
from tests.scripted_mws import NOW, Answer, QuotaNotes

if TYPE_CHECKING:
    from collections.abc import Callable

BODY = b"order-id\torder-item-id\n" + b"102-1234567-1234567\t12345678901234\n" * 20_000


@dataclass(frozen=True)
class Api:
    """`good` and `refused` answer list_schedules, `before` what a download asks first; `asking` is request_report's call."""

    client: Callable
    asking: str
    good: Answer
    refused: Answer
    before: Callable[[str], list[Answer]]

    def will_send(self, amazon, *files: Answer):
        """A download gets `files`, one after the other."""
        amazon.will_answer(*self.before(amazon.url), *files)


APIS = {
    "mws": Api(
        scripted_mws.client,
        "RequestReport",
        scripted_mws.answer("GetReportScheduleList", "<HasNext>false</HasNext>"),
        scripted_mws.refusal(500, "InternalError"),
        lambda _url: [],
    ),
    "sp-api": Api(
        scripted_sp_api.client,
        "createReport",
        scripted_sp_api.answer({"reportSchedules": []}),
        scripted_sp_api.refusal(500, "InternalFailure"),
        lambda url: [scripted_sp_api.answer(scripted_sp_api.report()), scripted_sp_api.document(url)],
    ),
}


@pytest.fixture(params=APIS.values(), ids=APIS.keys())
def api(request):
    return request.param


# --------------------------------------------------------------------------------------------- answers that end badly


def test_an_answer_that_breaks_off_is_a_fault_of_the_service(api, amazon):
    """Whatever the half said."""
    headers = {**api.good.headers, "x-mws-request-id": "req-5", "x-amzn-RequestId": "req-5"}
    amazon.will_answer(Answer(body=api.good.body, headers=headers, announced=len(api.good.body) + 1))
    with pytest.raises(ServiceFault, match="not whole") as caught:
        api.client(amazon.url).list_schedules()
    assert caught.value.evidence.request_id == "req-5"


def test_an_endless_answer_is_cut_off(api, amazon):
    """Eight megabytes are a hundred times the largest page."""
    amazon.will_answer(Answer(chunks=[b" " * 1024 * 1024] * 9))
    with pytest.raises(ServiceFault, match="larger than"):
        api.client(amazon.url).list_schedules()


def test_a_refused_connection_is_a_fault_of_the_service_and_names_no_address(api):
    """urllib3's own text tells the address."""
    with scripted_mws.scripted_mws() as gone:
        url = gone.url
    with pytest.raises(ServiceFault, match="no connection") as caught:
        api.client(url).list_schedules()
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize("stall", [True, False])
def test_silence_and_a_hung_up_line_are_faults_of_the_service(api, amazon, stall):
    """The request may have had its effect all the same, so it is not sent again here."""
    amazon.will_answer(Answer(status=0, stall=stall))
    quota = QuotaNotes()
    client = api.client(amazon.url, quota=quota, read_seconds=0.2)
    with pytest.raises(ServiceFault, match=f"no answer to {api.asking}") as caught:
        client.request_report("_T_", start=None, end=None, options={})
    assert len(amazon.asked) == 1
    assert str(caught.value.evidence) == f"{api.asking}: no answer (no request id)"
    assert (quota.told, quota.rates) == ([], [])


@pytest.mark.parametrize("whole", [True, False])
def test_a_chunked_body_must_end_with_its_last_chunk(api, amazon, whole):
    """Amazon sent chunks in 2014; a cut between two of them leaves no wrong length behind."""
    api.will_send(amazon, Answer(chunks=[BODY[:70_000], BODY[70_000:]], last_chunk=whole, headers={}))
    got = bytearray()
    if whole:
        api.client(amazon.url).download("1", got.extend)
        assert got == BODY
    else:
        with pytest.raises(BadBody, match="broke off"):
            api.client(amazon.url).download("1", got.extend)
    assert got == BODY


def test_a_stalled_body_is_given_up_after_the_time_to_read(api, amazon):
    """A worker must not wait for ever for half a file."""
    api.will_send(amazon, Answer(body=BODY[:1000], headers={}, announced=len(BODY), stall=True))
    got = bytearray()
    with pytest.raises(BadBody, match="stalled after 1,000 bytes"):
        api.client(amazon.url).download("1", got.extend)
    assert got == BODY[:1000]


# -------------------------------------------------------------------------------------------------------- connections


def test_building_a_client_connects_to_nothing(api):
    """It is built in a parent process and used in its children."""
    api.client("http://256.256.256.256:1")


def test_without_quota_nothing_is_sent(api, amazon):
    """Amazon counts refused calls too; the fleet never sends what it must refuse."""

    class UsedUp(QuotaNotes):
        def take(self, operation: str) -> None:
            raise Throttled("used up", until=NOW)

    amazon.will_answer(api.good)
    with pytest.raises(Throttled):
        api.client(amazon.url, quota=UsedUp()).list_schedules()
    assert amazon.asked == []


def test_one_connection_serves_call_after_call(api, amazon):
    """Also after a download and after an error: a new one costs a TLS handshake each time."""
    api.will_send(amazon, Answer(body=BODY, headers={}), api.refused, api.good)
    client = api.client(amazon.url)
    client.download("1", lambda _block: None)
    with pytest.raises(ServiceFault):
        client.list_schedules()
    client.list_schedules()
    assert len({asked.connection for asked in amazon.asked}) == 1


def test_a_sink_that_fails_is_heard_and_the_next_call_is_a_clean_one(api, amazon):
    """A full disk is no fault of Amazon's, and the rest of that body must not answer the next request."""
    api.will_send(amazon, Answer(body=BODY, headers={}), api.good)
    client = api.client(amazon.url)

    def full(_block: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        client.download("1", full)
    downloads = [asked.connection for asked in amazon.asked]
    assert client.list_schedules() == ()
    assert not set(downloads) & {asked.connection for asked in amazon.asked[len(downloads) :]}


def test_a_child_process_never_uses_its_parents_connection(api, amazon):
    """Two processes on one socket read each other's answers."""
    amazon.will_answer(api.good)
    client = api.client(amazon.url)
    client.list_schedules()
    calls = len(amazon.asked)
    child = os.fork()
    if child == 0:
        try:
            client.list_schedules()
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    client.list_schedules()
    parents, childs, parents_again = (
        {asked.connection for asked in amazon.asked[turn * calls : (turn + 1) * calls]} for turn in range(3)
    )
    assert not childs & parents
    assert parents_again == parents


# ------------------------------------------------------------------------------------------------------- our emulator


@pytest.mark.parametrize(
    ("said", "is_one"),
    [
        (Answer(body=b'{"emulator": "orderdrain", "now": "2018-04-27T14:50:16Z"}'), True),
        (Answer(body=b'{"emulator": "another"}'), False),
        (Answer(body=b'["orderdrain"]'), False),
        (Answer(body=b"<html>orderdrain</html>"), False),
        (Answer(body=b"{" + b" " * 100_000), False),
        (Answer(status=0), False),
    ],
)
def test_only_our_own_emulator_is_taken_for_it(amazon, said, is_one):
    """Until secrets are sealed, no other address may be given any."""
    amazon.will_answer(said)
    assert emulator_at(amazon.url + "/") is is_one
    assert amazon.asked[0].path == "/_emulator/clock"


def test_an_address_where_nobody_listens_is_no_emulator():
    """Nor one that is no address."""
    with scripted_mws.scripted_mws() as gone:
        url = gone.url
    assert [emulator_at(endpoint) for endpoint in (url, "", "mws.example", "ftp://x", "http://[")] == [False] * 5
