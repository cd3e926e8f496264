"""Login with Amazon: a refresh token becomes an access token, or it is said whose business the refusal is."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import pytest

from orderdrain.amazon import lwa
from orderdrain.amazon.http import Http
from orderdrain.errors import OperatorNeeded, OrderdrainError, ServiceFault
from tests.scripted_mws import NOW, Answer

KEYS = {"client_id": "amzn1.client", "client_secret": "the+secret&", "refresh_token": "Atzr|ours"}
GIVEN = {"access_token": "Atza|given", "refresh_token": "Atzr|ours", "token_type": "bearer", "expires_in": 3600}


def _refresh(amazon):
    http = Http(connect_seconds=2, read_seconds=2, total_seconds=10)
    return lwa.refresh(http, f"{amazon.url}/auth/o2/token", **KEYS, now=NOW)


def _answer(told: object, status: int = 200) -> Answer:
    headers = {"Content-Type": "application/json;charset=UTF-8", "x-amzn-RequestId": "req-7"}
    return Answer(status, json.dumps(told).encode(), headers)


def test_what_is_sent_is_a_form_and_what_comes_is_good_for_an_hour(amazon):
    """In the body: urls end up in the logs of everything that they pass."""
    amazon.will_answer(_answer(GIVEN))
    given = _refresh(amazon)
    assert (given.token, given.expires_at) == ("Atza|given", NOW + timedelta(hours=1))
    (asked,) = amazon.asked
    assert (asked.method, asked.path) == ("POST", "/auth/o2/token")
    assert asked.headers["Content-Type"] == "application/x-www-form-urlencoded;charset=UTF-8"
    assert asked.form == {"grant_type": "refresh_token", **KEYS}


@pytest.mark.parametrize(
    ("status", "code", "scope", "advice"),
    [
        (400, "invalid_client", "application", "180 days"),
        (401, "invalid_client", "application", "180 days"),
        (400, "unauthorized_client", "application", "180 days"),
        (400, "invalid_grant", "connection", "authorise again"),
        (400, "invalid_request", "connection", "check the refresh token"),
        (400, "unsupported_grant_type", "connection", "check the refresh token"),
    ],
)
def test_a_refusal_says_who_must_act(amazon, status, code, scope, advice):
    """A developer's bad secret is one alert, a revoked authorization one seller's; a repeat would mend neither."""
    amazon.will_answer(_answer({"error": code, "error_description": "No Atzr|ours."}, status))
    with pytest.raises(OperatorNeeded, match=advice) as caught:
        _refresh(amazon)
    assert caught.value.scope == scope
    assert str(caught.value.evidence) == f"LWA: {status} {code} (request id req-7)"


@pytest.mark.parametrize(
    "said",
    [
        _answer({"error": "server_error"}, 500),
        _answer({"error": "temporarily_unavailable"}, 400),
        _answer({"error": "invalid_client"}, 503),
        _answer({"error": "slow_down"}, 429),
        _answer({"error": {"code": "invalid_client"}}, 400),
        _answer({"error": "the client Atzr|ours is not good"}, 400),
        _answer({"message": "Forbidden"}, 403),
        _answer(GIVEN, 400),
        _answer({**GIVEN, "expires_in": "3600"}),
        _answer({**GIVEN, "access_token": None}),
        _answer({**GIVEN, "access_token": ""}),
        _answer({}),
        Answer(403, b"<html>no</html>", {"Content-Type": "text/html"}),
        Answer(302, b"", {"Location": "/elsewhere"}),
        Answer(200, b'{"access_token": "Atza|given", "expires', {}),
        Answer(200, b'{"access_token": "Atza|given"', {}, announced=100),
        Answer(200, b" " * 100_000, {}),
        Answer(status=0),
        Answer(status=0, stall=True),
    ],
)
def test_everything_else_is_a_fault_of_the_service(amazon, said):
    """A proxy's page must pause nobody, and no half answer is a token."""
    amazon.will_answer(said)
    with pytest.raises(ServiceFault) as caught:
        _refresh(amazon)
    assert len(amazon.asked) == 1
    assert caught.value.evidence.operation == "LWA"


@pytest.mark.parametrize(
    "said",
    [
        _answer(GIVEN),
        _answer({"error": "invalid_client", "error_description": "the+secret& amzn1.client"}, 400),
        _answer({"error": "Atzr|ours"}, 400),
        Answer(status=0),
    ],
)
def test_no_secret_and_no_token_is_shown_anywhere(amazon, caplog, capsys, said):
    """Not in a repr, not in an error, not in a log line."""
    caplog.set_level(logging.DEBUG)
    amazon.will_answer(said)
    try:
        shown = repr(_refresh(amazon))
    except OrderdrainError as error:
        shown = f"{error} {error!r} {error.evidence!r}"
    shown += caplog.text + "".join(capsys.readouterr())
    for secret in (KEYS["client_secret"], "Atzr", "Atza"):
        assert secret not in shown
