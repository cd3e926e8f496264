"""The composition root: settings in, every part built and handed to its users, once a process."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orderdrain.accounts import Accounts
from orderdrain.acknowledgements import Acknowledgements
from orderdrain.amazon import mws, sp_api
from orderdrain.amazon.http import Http
from orderdrain.amazon.mws import MwsReports
from orderdrain.amazon.sp_api import SpApiReports
from orderdrain.archive import open_archive
from orderdrain.clock import Clock
from orderdrain.db import Database
from orderdrain.dispatch import Dispatch
from orderdrain.history import History
from orderdrain.ledger import Ledger
from orderdrain.locks import Locks
from orderdrain.notices import Notices
from orderdrain.notifications import open_queues
from orderdrain.orders import Digests, Orders
from orderdrain.quota import Quota
from orderdrain.redis_client import connect
from orderdrain.replays import Replays
from orderdrain.requests import Requests
from orderdrain.sealed_archive import SealedArchive
from orderdrain.tokens import AccessTokens
from orderdrain.turns import Turns
from orderdrain.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from orderdrain.accounts import Connection
    from orderdrain.amazon import ReportsApi
    from orderdrain.archive import Archive
    from orderdrain.notifications import Queue
    from orderdrain.progress import Progress
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
    vault: Vault
    accounts: Accounts
    turns: Turns
    ledger: Ledger
    dispatch: Dispatch
    history: History
    replays: Replays
    acknowledgements: Acknowledgements
    requests: Requests
    notices: Notices
    orders: Orders
    archive: Archive
    queues: tuple[Queue, ...]
    locks: Locks
    quota: Quota
    amazon: Callable[[Connection], ReportsApi]
    send: Send
    worker: str
    #: Hears, in the thread of the work, how far a long step is: whoever looks on (Flower, a terminal) is shown it.
    tell: Callable[[Progress], None]
    #: What the process raises in a step whose time is up (Celery's soft time limit).
    out_of_time: tuple[type[Exception], ...] = ()

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        send: Send | None = None,
        tell: Callable[[Progress], None] | None = None,
        out_of_time: tuple[type[Exception], ...] = (),
    ) -> Services:
        """Everything wired. Without `send` nobody is told: the sweep of a running system sends what is due."""
        database = Database(settings.database_url)
        redis_client = connect(settings.redis_url)
        clock = Clock(database)
        quota = Quota(redis_client, clock)
        http = Http()
        vault = Vault.from_file(settings.keys)
        archive = open_archive(settings.archive)
        locks = Locks(redis_client, seconds=settings.lease_seconds / 2)

        def amazon(connection: Connection) -> ReportsApi:
            account = connection.account
            # Amazon counts by seller and developer (documentation of both): two accounts may share what one has.
            if connection.api == "sp-api":
                return SpApiReports(
                    connection.endpoint,
                    account.marketplaces,
                    tokens=AccessTokens(
                        connection, database=database, vault=vault, locks=locks, http=http, clock=clock
                    ),
                    http=http,
                    clock=clock,
                    # By Amazon's own name of the application, which may be stored here under two.
                    quota=quota.bound_to(f"{connection.key_id}:{account.seller_id}", sp_api.QUOTAS),
                )
            return MwsReports(
                connection.endpoint,
                account.seller_id,
                connection.key_id,
                connection.secret,
                connection.token,
                account.marketplaces,
                http=http,
                clock=clock,
                # An access key may be another tomorrow, of the same developer.
                quota=quota.bound_to(f"{connection.application}:{account.seller_id}", mws.QUOTAS),
            )

        lease_seconds = settings.lease_seconds
        return cls(
            settings=settings,
            db=database,
            redis=redis_client,
            clock=clock,
            vault=vault,
            accounts=Accounts(database, vault),
            turns=Turns(database, lease_seconds=lease_seconds),
            ledger=Ledger(database, lease_seconds=lease_seconds),
            dispatch=Dispatch(database, lease_seconds=lease_seconds, account_slots=settings.account_slots),
            history=History(database),
            replays=Replays(database, lease_seconds=lease_seconds),
            acknowledgements=Acknowledgements(database, lease_seconds=lease_seconds),
            requests=Requests(database, lease_seconds=lease_seconds),
            notices=Notices(database),
            orders=Orders(Digests(vault.digest_key)),
            archive=SealedArchive(archive, vault) if vault.seals else archive,
            queues=open_queues(settings.notifications),
            locks=locks,
            quota=quota,
            amazon=amazon,
            send=send or (lambda _step, **_ids: False),
            worker=f"{socket.gethostname()}:{os.getpid()}",
            tell=tell or (lambda _progress: None),
            out_of_time=out_of_time,
        )
