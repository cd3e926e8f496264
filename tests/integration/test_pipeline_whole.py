"""The whole procedure, step by step, for three sellers of three regions: schedule, list, download, parse, acknowledge."""

from __future__ import annotations


def test_whole(drain):
    for account in ("acme", "bravo", "cedar"):
        drain.amazon("orders", account=account, count=5)
        drain.amazon("reports", account=account)
    drain.amazon("reports", account="acme", count=230)
    import time
    t = time.time()
    drain.run(stride_minutes=14)
    print(time.time() - t, drain.states())
    for x in drain.said[:30]: print(x)
    drain.assert_judged()
    print(drain.logs[:10])
