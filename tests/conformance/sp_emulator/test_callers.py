"""Who may call the emulated SP-API, and how often."""

from __future__ import annotations

import re

import pytest

from emulator.quota import SP_LIMITS
from tests import sp_models
from tests.raw_sp_api import SHIPPING, Client, advance


def test_the_first_line_names_each_sellers_keys_of_its_own_api_alone(emulator):
    """Who drains a seller must not need to know where it sells; all keys are shown to who asks for them."""
    assert emulator.first_line["lwa"] == emulator.first_line["sp_api"] + "/auth/o2/token"
    mws, sp_api = {"access_key", "secret_key"}, {"client_id", "client_secret", "refresh_token"}
    assert sp_api <= emulator.account("acme").keys()
    assert not mws & emulator.account("acme").keys()
    assert mws <= emulator.account("cedar").keys()
    assert not sp_api & emulator.account("cedar").keys()
    assert all(account.keys() >= mws | sp_api for account in emulator.get("/_emulator/accounts?keys=all"))
    assert emulator.account("acme")["client_id"] == emulator.account("bravo")["client_id"]


@pytest.mark.parametrize("form", [True, False])
def test_a_token_is_given_for_a_form_and_for_json_and_earlier_ones_stay_good(acme, form):
    """Published clients send either, and each of their objects asks anew: no quota is in the way."""
    keys = {name: acme.account[name] for name in ("client_id", "client_secret", "refresh_token")}
    first = acme.send("POST", "/auth/o2/token", {"grant_type": "refresh_token"} | keys, form=form)
    second = [acme.log_in() for _ in range(50)][-1]
    assert (first.status, first.headers["Content-Type"]) == (200, "application/json;charset=UTF-8")
    assert first.json.keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (first.json["token_type"], first.json["expires_in"]) == ("bearer", 3600)
    assert first.json["access_token"].startswith("Atza|")
    for answer in (first, second):
        assert acme.call("GET", "/reports/2021-06-30/reports/1", token=answer.json["access_token"]).status == 404


def test_lwa_says_in_oauths_words_what_is_wrong(acme):
    """The developer's secret, the seller's leave and a mistake of the client call for three different people."""
    for changed, status, error in (
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "amzn1.application-oa2-client.none"}, 401, "invalid_client"),
        ({"refresh_token": "Atzr|revoked"}, 400, "invalid_grant"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": ""}, 400, "invalid_request"),
    ):
        answer = acme.log_in(**changed)
        assert (answer.status, answer.json["error"]) == (status, error)
        assert answer.json.keys() >= {"error_description", "request_id"}
    assert [call["code"] for call in acme.emulator.calls("LWA")][:3] == ["invalid_client"] * 2 + ["invalid_grant"]


def test_a_grantless_token_opens_no_sellers_reports(acme):
    """It is the application's own, for notifications."""
    grantless = acme.log_in(grant_type="client_credentials", scope="sellingpartnerapi::notifications", refresh_token="")
    assert (grantless.status, grantless.json["scope"]) == (200, "sellingpartnerapi::notifications")
    answer = acme.call("GET", "/reports/2021-06-30/reports/1", token=grantless.json["access_token"])
    assert (answer.status, answer.code) == (403, "Unauthorized")


def test_a_call_needs_a_token_and_the_token_lives_an_hour_of_the_emulated_clock(emulator, acme):
    """One 403 for all of it; the details alone tell which, as users have seen them."""
    token = acme.token
    advance(emulator, minutes=59)
    assert acme.reports(token=token).status == 200
    advance(emulator, minutes=2)
    for sent, details in ((token, "expired"), ("Atza|none", "malformed"), ("", "")):
        answer = acme.reports(token=sent)
        assert (answer.status, answer.code) == (403, "Unauthorized")
        assert details in answer.json["errors"][0]["details"]
        assert "x-amzn-RateLimit-Limit" not in answer.headers
    (call,) = (call for call in emulator.calls() if call["code"] == "Unauthorized" and call["account"])
    assert (call["account"], call["applied"]) == ("acme", False)  # an expired token still says whose it was
    acme.forget()
    assert acme.reports().status == 200


def test_no_operation_is_denied_as_recorded(acme):
    """Amazon's gateway knows no 404 for a path that it lacks."""
    for verb, path in (("GET", "/reports/2021-06-30/feeds"), ("DELETE", "/reports/2021-06-30/reports")):
        answer = acme.call(verb, path)
        assert (answer.status, answer.code) == (403, "Unauthorized")


# --- how often -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "burst", "rate"),
    [
        (f"/reports/2021-06-30/reports?reportTypes={SHIPPING}", 10, "0.0222"),
        ("/reports/2021-06-30/reports/1", 15, "2.0"),
        ("/reports/2021-06-30/documents/1", 15, "0.0167"),
    ],
)
def test_each_operation_has_its_documented_burst_and_rate(emulator, acme, path, burst, rate):
    """One more than the burst is refused as recorded: no rate told, no Retry-After; another seller is not."""
    get = lambda client=acme: client.call("GET", path)  # noqa: E731
    answers = [get() for _ in range(burst + 1)]
    assert {answer.status for answer in answers[:-1]} <= {200, 404}
    assert {answer.headers["x-amzn-RateLimit-Limit"] for answer in answers[:-1]} == {rate}
    refused = answers[-1]
    assert (refused.status, refused.code) == (429, "QuotaExceeded")
    assert refused.headers["X-Amzn-ErrorType"] == "TooManyRequestsException"
    assert not {"x-amzn-RateLimit-Limit", "Retry-After"} & set(refused.headers.keys())
    assert get(Client(emulator, "bravo")).status != 429
    over = [call for call in emulator.calls() if call["over_quota"]]
    assert [(call["account"], call["code"], call["status"]) for call in over] == [("acme", "QuotaExceeded", 429)]
    assert emulator.get("/_emulator/calls")["totals"]["over_quota"] == 1


def test_a_bucket_refills_at_its_rate(emulator, acme):
    """Forty-five seconds for a listing; a quota can be changed for one operation."""
    for _ in range(10):
        acme.reports()
    advance(emulator, seconds=44)
    assert acme.reports().status == 429
    advance(emulator, seconds=2)
    assert (acme.reports().status, acme.reports().status) == (200, 429)
    emulator.post("/_emulator/quota", {"account": "acme", "operation": "getReports", "max": 2, "restore_seconds": 180})
    answers = [acme.reports() for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[0].headers["x-amzn-RateLimit-Limit"] == "0.0056"


def test_a_report_type_can_have_a_rate_of_its_own_and_its_answers_tell_it(emulator, acme):
    """Users saw createReport throttled for single types."""
    limit = {"operation": "createReport", "report_type": SHIPPING, "max": 1, "restore_seconds": 600}
    emulator.post("/_emulator/quota", limit)
    answers = [acme.create() for _ in range(2)]
    assert [answer.status for answer in answers] == [202, 429]
    assert answers[0].headers["x-amzn-RateLimit-Limit"] == "0.0017"
    other = acme.create(reportType="GET_FLAT_FILE_ORDER_REPORT_DATA_TAX")
    assert (other.status, other.headers["x-amzn-RateLimit-Limit"]) == (202, "0.0167")


@sp_models.model
def test_the_quotas_are_the_models(emulator):
    """Its text gives rate and burst of each operation in a table."""
    found = {}
    for operation in sp_models.operations().values():
        if operation.api.startswith(("reports", "tokens")):
            rate, burst = re.search(r"\| ([\d.]+) \| (\d+) \|", operation.described).groups()
            found[operation.name] = (float(rate), int(burst))
    assert {name: (round(1 / limit.restore_seconds, 4), limit.burst) for name, limit in SP_LIMITS.items()} == found
