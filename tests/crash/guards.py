"""The guards of orderdrain, each with the cheapest run that notices when it is gone.

A guard is taken out by changing one text in the running code, in the process that dies of it: nothing in the product
knows how to be unsafe. A text that is no longer there fails loudly, so that no guard moves unseen.
"""

from __future__ import annotations
import __future__

import inspect
import sys
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orderdrain import archive, ledger, listening, orders, pipeline, requesting
from orderdrain.acknowledgements import Acknowledgements
from orderdrain.amazon import sp_documents
from orderdrain.amazon.mws import MwsReports
from orderdrain.amazon.sp_api import SpApiReports
from orderdrain.ledger import Ledger
from orderdrain.locks import Locks
from orderdrain.services import Services
from orderdrain.tokens import AccessTokens
from orderdrain.turns import Turns
from orderdrain.vault import Vault
from tests.crash import runs

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Guard:
    """`off` takes it out of this process; `run` is the kind of day that does not end well without it."""

    name: str
    off: Callable[[], None]
    run: Callable


def changed(text, instead, *places):
    """Changes a text in functions; each place is a module or a class, and the function's name there."""

    def off():
        for owner, name in places:
            function = vars(owner)[name]
            source = textwrap.dedent(inspect.getsource(function))
            assert text in source, f"{name} no longer holds {text!r}: where is this guard now?"
            if inspect.isclass(owner):  # outside of a class statement super() must be told where it stands
                source = source.replace("super()", f"super({owner.__name__}, self)")
            made = {}
            file, flags = inspect.getsourcefile(inspect.unwrap(function)), __future__.annotations.compiler_flag
            code = compile(source.replace(text, instead), file, "exec", flags)
            exec(code, vars(sys.modules[function.__module__]), made)
            setattr(owner, name, made[name])

    return off


GUARDS = (
    Guard(
        "fence check",
        changed(" AND fence = %(fence)s", "", (ledger, "_ended")),
        runs.paused_past_its_lease,
    ),
    Guard(
        "state check before acknowledge",
        changed(" AND r.state = 'parsed'", "", (Acknowledgements, "begin")),
        runs.undisturbed,
    ),
    Guard(
        "newest wins",
        changed('{report.compared(">")}', "t.{family.key[0]} IS NOT NULL", (orders, "merge_lines")),
        runs.undisturbed,
    ),
    Guard(
        "lease expiry",
        changed("lease_until = app_now() + real_seconds(%(seconds)s)", "lease_until = 'infinity'", (Ledger, "lease")),
        runs.death_before("download: SealedArchive.writer: open"),
    ),
    Guard(
        "MD5 comparison",
        changed("announced is not None and announced.strip() != came", "False", (MwsReports, "download")),
        runs.undisturbed,
    ),
    Guard("sweep", changed("sent = send_due(s)", "sent = 0", (pipeline, "sweep")), runs.messages_lost),
    Guard(
        "turn of the lister",
        changed(" AND (c.turn IS NULL OR c.turn_until <= app_now())", "", (Turns, "take_listing")),
        runs.listed_by_two_after_a_flush,
    ),
    Guard(
        "Redis lock of the lister",
        changed("(account, ", "(account, secrets.token_hex(4), ", (Locks, "listing")),
        runs.listed_by_two_after_a_jump,
    ),
    Guard(
        "Redis lock of the report",
        changed("(account, api, report_id, step)", "(account, secrets.token_hex(4))", (Locks, "report")),
        runs.delivered_twice_after_a_jump,
    ),
    Guard(
        "atomic archive write",
        changed(
            "incoming / secrets.token_hex(16)",
            "_folder(self._final.parent) / self._final.name",
            (archive._FileWriter, "__init__"),
        ),
        runs.death_before("download: MwsReports.download: call to Amazon"),
    ),
    Guard(
        "transaction around parse",
        changed(
            "_advance(cursor,",
            "with type(self._database)(self._database.url).transaction() as own: _advance(own,",
            (Ledger, "parsed"),
        ),
        runs.death_before("parse: parse: commit"),
    ),
    Guard(
        "looking before asking again",
        changed("_ours_at_amazon(s, api, wish) or ", "", (requesting, "request")),
        runs.death_before("request: Requests.submitted: commit"),
    ),
    Guard(
        "end of the gzip",
        changed("if gzip.whole is False:", "if False:", (sp_documents, "_streamed")),
        runs.undisturbed,
    ),
    Guard(
        "newer token after a refusal",
        changed("if answer.token_refused:", "if False:", (SpApiReports, "_ask")),
        runs.undisturbed,
    ),
    Guard(
        "Redis lock of the access token",
        changed("if not self._lock.acquire():", "if False:", (AccessTokens, "access_token")),
        runs.refreshed_by_two,
    ),
    Guard(
        "reach of the full listing",
        changed("c.full_listed_at - %(overlap)s", "c.full_listed_at", (Turns, "take_listing")),
        runs.undisturbed,
    ),
    Guard(
        "message removed after it was heard",
        changed(
            "while messages := _receive(s, queue, wait):",
            "while (messages := _receive(s, queue, wait)) and not queue.delete(messages):",
            (listening, "_listen"),
        ),
        runs.death_before("listen: Notices.hear: commit"),
    ),
    Guard(
        "sealed archive",
        changed("SealedArchive(archive, vault) if vault.seals else archive", "archive", (Services, "from_settings")),
        runs.undisturbed,
    ),
    Guard("sealed secrets", changed("if not self._keys:", "if True:", (Vault, "seal")), runs.undisturbed),
)
