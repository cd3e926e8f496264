"""`python -m emulator`: starts the emulated Amazon; its first line on stdout says where it is and who sells there."""

from __future__ import annotations

import argparse
import ipaddress
import json
import signal
import threading
from pathlib import Path
from typing import Any

from emulator.clock import Clock
from emulator.control import Control
from emulator.documents import Documents
from emulator.faults import DEFAULT, Faults
from emulator.lwa import LWA_PATH, Lwa, Tokens
from emulator.mws import Mws
from emulator.notifications import Notifications
from emulator.quota import Quotas
from emulator.record import Record
from emulator.server import Server
from emulator.sp_api import SpApi
from emulator.sqs import Sqs
from emulator.world import World


def main() -> None:
    """Serves until SIGTERM or SIGINT, then exits 0."""
    parser = _parser()
    options = parser.parse_args()
    if not _is_loopback(options.host) and not options.control_token:
        parser.error(f"--host {options.host} is beyond loopback: give --control-token too")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        faults = _load_faults(options.faults, options.seed)
        server = Server(
            options.host, options.port, tls=options.tls, control_token=options.control_token, verbose=options.verbose
        )
        first_line = _put_together(server, faults, options)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    print(json.dumps(first_line), flush=True)
    stopped.wait()
    server.server_close()


def _put_together(server: Server, faults: Faults, options: argparse.Namespace) -> dict[str, Any]:
    world = World(
        Clock(options.speed),
        seed=options.seed,
        sellers=options.sellers,
        orders_per_minute=options.orders_per_minute,
        backlog=options.backlog,
        sp_api_sellers=options.sp_api_sellers,
        every_family=options.families == "all",
    )
    quotas, record, tokens = Quotas(), Record(), Tokens(options.seed)
    sqs = Sqs(world.clock, faults, seed=options.seed, url=server.url)
    notifications = Notifications(world, faults, sqs.notifications, seed=options.seed)
    sqs.publish = notifications.catch_up
    first_line = {
        "mws": server.url,
        "sp_api": server.url,
        "lwa": server.url + LWA_PATH,
        "sqs": sqs.url_of(sqs.notifications),
        "accounts": [account.as_json() for account in world.accounts.values()],
    }
    server.faults = faults
    server.lwa = Lwa(world, tokens, faults, record, seed=options.seed)
    server.documents = Documents(world, faults, record, seed=options.seed, url=server.url)
    server.sp_api = SpApi(world, quotas, faults, record, tokens, server.documents, seed=options.seed)
    server.mws = Mws(world, quotas, faults, record, seed=options.seed, on_acknowledge=options.on_acknowledge)
    server.sqs = sqs
    server.control = Control(world, quotas, faults, record, server.mws, notifications, first_line)
    return first_line


def _load_faults(choice: str, seed: int) -> Faults:
    faults = Faults(seed)
    if choice == "default":
        faults.load(DEFAULT)
    elif choice != "none":
        settings = json.loads(Path(choice).read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError(f'--faults {choice}: the file holds no JSON object such as {{"rates": {{}}}}')
        faults.load(settings)
    return faults


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emulator", description="A stand-in Amazon over HTTP: MWS and SP-API."
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on; beyond loopback it needs --control-token")
    add("--port", type=int, default=8400, help="0 picks a free one")
    add("--seed", type=int, default=1, help="same seed, same sellers, orders, reports and faults")
    add("--sellers", type=_at_least(1, int), default=3, help="how many sellers")
    add("--sp-api-sellers", type=_names, default=[], metavar="A,B", help="who sells on SP-API; all others on MWS")
    add("--families", choices=("new_orders", "all"), default="new_orders", help="what the sellers' reports tell")
    add("--orders-per-minute", type=_at_least(0, float), default=2.0, help="of each seller, in emulated minutes")
    add("--backlog", type=_at_least(0, int), default=5, help="reports that wait at the start, a seller")
    add("--speed", type=_at_least(0.0001, float), default=1.0, help="emulated seconds in a real one")
    add("--faults", default="default", help="none, default, or a JSON file with rates and stall_seconds")
    add("--on-acknowledge", metavar="URL", help="told the ids before an acknowledgement is applied and answered")
    add("--tls", nargs=2, metavar=("CERT", "KEY"), help="serve https with these PEM files")
    add("--control-token", metavar="T", help="/_emulator paths then need Authorization: Bearer T")
    add("--verbose", action="store_true", help="one line on stderr for every request")
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _at_least(least: float, kind: type[int | float]) -> Any:
    def parse(text: str) -> float:
        value = kind(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return value

    return parse


if __name__ == "__main__":
    main()
