"""The emulated store of documents: what a pre-signed url signs."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from emulator.clock import Clock
from emulator.documents import Documents
from emulator.faults import Faults
from emulator.record import Record
from emulator.signature import HttpRequest
from emulator.sp_control import add_sp_report
from emulator.world import World

ENCODING = "&response-content-encoding=identity"


@pytest.mark.parametrize(("account", "tells"), [("acme", False), ("cedar", True)])
def test_a_url_that_tells_the_store_how_to_answer_is_good_only_as_a_whole(account, tells):
    """Users met such urls, and clients that shortened them. In the Far East they are so here, elsewhere not."""
    world = World(Clock(), seed=1, sellers=3, orders_per_minute=0, backlog=0)
    seller, now = world.accounts[account], world.clock.now()
    report = seller.sp.reports[add_sp_report(seller, {}, now)]
    documents = Documents(world, Faults(1), Record(), seed=1, url="http://127.0.0.1:8400")
    url = urlsplit(documents.sign(seller, report.document, now, compressed=False, host=""))

    def status(query):
        return documents.handle(HttpRequest("GET", url.netloc, url.path, query, "", None)).status

    assert (ENCODING in url.query) is tells
    assert status(url.query) == 200
    assert status(url.query.replace(ENCODING, "") if tells else url.query + ENCODING) == 403
