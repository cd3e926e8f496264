"""Reports of every family whose bytes change their shape on the way: cut, zipped once more, under a url that is over."""

from __future__ import annotations

import gzip

import pytest

from tests.drain import draining_quiet_sellers
from tests.every_family import SELLER, declare, make, sell
from workers.judge_columns import FAMILIES


@pytest.fixture
def drain_at(database_url, redis_url, tmp_path):
    """Opens the path of a report, for a seller of Japan at one of the APIs. There urls tell the store how to answer, too
    (`response-content-encoding=identity`)."""
    opened = []

    def open_at(api):
        opened.append(
            draining_quiet_sellers(database_url, redis_url, tmp_path, sp_api_sellers=SELLER if api == "sp-api" else "")
        )
        drain = opened[-1].__enter__()
        declare(drain)
        sell(drain)
        return drain

    yield open_at
    for each in opened:
        each.__exit__(None, None, None)


def archived(drain, report_id):
    with drain.s.archive.open(drain.row(report_id, SELLER).archive_key) as file:
        return file.read()


def assert_stored(drain, reports):
    """Each report has left its rows, and all is as Amazon told it."""
    for family, report_id in reports.items():
        row = drain.row(report_id, SELLER)
        assert (row.state, row.rows_read > 0, row.rows_rejected) == ("acknowledged", True, 0), family
    drain.assert_judged()


@pytest.mark.parametrize(
    ("operation", "fault", "zipped", "layers"),
    [
        ("getReportDocument", "gzip_announced_plain", True, 0),
        ("getReportDocument", "gzip_unannounced", False, 1),
        ("document", "gzip_on_gzip", True, 2),
        ("document", "gzip_on_gzip", False, 1),
    ],
)
def test_documents_of_every_family_are_read_whatever_is_said_of_their_gzip(drain_at, operation, fault, zipped, layers):
    """What the bytes are is found in them; the archive holds them as they were sent."""
    drain = drain_at("sp-api")
    drain.fault(operation, fault, count=len(FAMILIES))
    reports = make(drain, "sp-api", gzip=zipped)

    drain.run()

    assert_stored(drain, reports)
    assert len([call for call in drain.calls(operation) if call["fault"] == fault]) == len(FAMILIES)
    for family, report_id in reports.items():
        body = archived(drain, report_id)
        for _ in range(layers):
            body = gzip.decompress(body)
        assert body.startswith((b"order-id\t", b"amazon-order-id\t", b"<?xml")), family


@pytest.mark.parametrize(
    ("api", "operation", "fault", "times"),
    [
        ("mws", "GetReport", "cut_body", 1),
        ("mws", "GetReport", "cut_without_length", 1),
        ("mws", "GetReport", "wrong_md5", 2),
        ("sp-api", "document", "cut_body", 1),
        ("sp-api", "document", "cut_without_length", 1),
    ],
)
def test_a_body_of_any_family_is_fetched_again_until_it_is_whole(drain_at, api, operation, fault, times):
    """Nothing of a cut file is read or acknowledged: a few more downloads, and no row is lost."""
    drain = drain_at(api)
    reports = {}
    for family in FAMILIES:
        reports |= make(drain, api, families=[family], gzip=True)
        drain.fault(operation, fault, count=times)
        before = len(drain.calls(operation))
        drain.advance(minutes=16)
        drain.run()
        assert [call["fault"] for call in drain.calls(operation)[before:]] == [fault] * times + [None], family

    assert_stored(drain, reports)


def test_a_url_that_is_over_costs_one_more_call_in_every_family(drain_at):
    """It is good for five minutes; that its answer is a 403 pauses nobody."""
    drain = drain_at("sp-api")
    drain.fault("document", "expired_url", count=len(FAMILIES))
    reports = make(drain, "sp-api")

    drain.run()

    assert_stored(drain, reports)
    assert len(drain.calls("document")) == 2 * len(FAMILIES)
    assert len(drain.calls("getReportDocument")) == 2 * len(FAMILIES)
    assert not [row for row in drain.s.accounts.table() if row.paused_at]
