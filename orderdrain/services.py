"""The composition root: settings in, every part built and handed to its users, once a process."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orderdrain.accounts import Accounts
from orderdrain.acknowledgements import Acknowledgements
from orderdrain.amazon.http import Http
from orderdrain.amazon.mws import QUOTAS, MwsReports
from orderdrain.archive import open_archive
from orderdrain.clock import Clock
from orderdrain.db import Database
from orderdrain.ledger import Ledger
from orderdrain.locks import Locks
from orderdrain.orders import Orders
from orderdrain.quota import Quota
from orderdrain.redis_client import connect
from orderdrain.requests import Requests

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from orderdrain.accounts import Connection
    from orderdrain.amazon import ReportsApi
    from orderdrain.archive import Archive
    from orderdrain.settings import Settings

#: Sends the message of a step: `send("download", account=..., api=..., report_id=...)`. False when the broker does not
#: take it: then the sweep sends it later.
Send = Any


@dataclass(frozen=True)
class Services:
    """The parts that the path of a report is made of. Building it connects to nothing."""

    settings: Settings
    db: Database
    redis: redis.Redis
    clock: Clock
    accounts: Accounts
    ledger: Ledger
    acknowledgements: Acknowledgements
    requests: Requests
    orders: Orders
    archive: Archive
    locks: Locks
    quota: Quota
    amazon: Callable[[Connection], ReportsApi]
    send: Send
    worker: str
    #: What the process raises in a step whose time is up (Celery's soft time limit).
    out_of_time: tuple[type[Exception], ...] = ()

    @classmethod
    def from_settings(
        cls, settings: Settings, *, send: Send | None = None, out_of_time: tuple[type[Exception], ...] = ()
    ) -> Services:
        """Everything wired. Without `send` nobody is told: the sweep of a running system sends what is due."""
        database = Database(settings.database_url)
        redis_client = connect(settings.redis_url)
        clock = Clock(database)
        quota = Quota(redis_client, clock)
        http = Http()

        def amazon(connection: Connection) -> ReportsApi:
            account = connection.account
            return MwsReports(
                connection.endpoint,
                account.seller_id,
                connection.access_key,
                connection.secret_key,
                connection.auth_token,
                account.marketplaces,
                http=http,
                clock=clock,
                # Amazon counts by seller and developer (MWS documentation): two accounts may share what one has.
                quota=quota.bound_to(f"{connection.application}:{account.seller_id}", QUOTAS),
            )

        lease_seconds = settings.lease_seconds
        return cls(
            settings=settings,
            db=database,
            redis=redis_client,
            clock=clock,
            accounts=Accounts(database, lease_seconds=lease_seconds),
            ledger=Ledger(database, lease_seconds=lease_seconds, account_slots=settings.account_slots),
            acknowledgements=Acknowledgements(database, lease_seconds=lease_seconds),
            requests=Requests(database, lease_seconds=lease_seconds),
            orders=Orders(),
            archive=open_archive(settings.archive),
            locks=Locks(redis_client, seconds=lease_seconds / 2),
            quota=quota,
            amazon=amazon,
            send=send or (lambda _step, **_ids: False),
            worker=f"{socket.gethostname()}:{os.getpid()}",
            out_of_time=out_of_time,
        )
