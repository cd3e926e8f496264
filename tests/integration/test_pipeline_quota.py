"""Amazon gives less than it documents: everything is drained all the same, and nobody else is slowed."""

from __future__ import annotations

import pytest

REPORTS = 20


def slow_acme(drain, *, hourly):
    """GetReport restores once in three minutes for acme, not once a minute as documented."""
    drain.amazon("quota", account="acme", operation="GetReport", max=1, restore_seconds=180, hourly=hourly)


def refused(calls):
    return [call for call in calls if call["over_quota"]]


@pytest.mark.parametrize("resets_on", ["2018", "2014", "doc"])
@pytest.mark.parametrize(("hourly", "code"), [(60, "RequestThrottled"), (6, "QuotaExceeded")])
def test_a_quota_below_the_documents_is_learned(drain, resets_on, hourly, code):
    slow_acme(drain, hourly=hourly)
    drain.amazon("headers", resets_on=resets_on)
    for account in ("acme", "bravo"):
        drain.amazon("reports", account=account, count=REPORTS)

    drain.run()
    calls = drain.calls("GetReport", account="acme")
    over = refused(calls)
    print(
        resets_on,
        hourly,
        len(calls),
        len(over),
        [c["n"] for c in over],
        [c["code"] for c in over][:5],
        calls[0]["at"],
        calls[-1]["at"],
    )
    b = drain.calls("GetReport", account="bravo")
    print(len(b), b[0]["at"], b[-1]["at"], len(drain.calls()), len(refused(drain.calls())))
    print([(c["at"][11:19], c["code"]) for c in calls][:30])
