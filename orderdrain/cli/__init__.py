"""`orderdrain`: look at what is drained (look.py), do a step by hand (do.py, replay.py), run the system (run.py).

Exit codes: 0 done, 1 failed, 2 usage, 3 a dependency is unreachable, 4 not found, 5 needs a person.
"""

from __future__ import annotations

import click

from orderdrain.cli import do, look, replay, run
from orderdrain.output import Commands

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=Commands, context_settings=_CONTEXT)
@click.version_option(package_name="orderdrain")
def main() -> None:
    """Drains Amazon order reports into Postgres. Never loses an order, never doubles one.

    \b
    examples:
      orderdrain status                          how far every account is
      orderdrain show 50123456789                one report's whole story
      orderdrain replay 50123456789 --dry-run    what today's code would read otherwise
      orderdrain requeue 50123456789             try a quarantined report again
      orderdrain parse FILE --report-type _GET_FLAT_FILE_ORDERS_DATA_
    """


for command in (*look.COMMANDS, *do.COMMANDS, *replay.COMMANDS, *run.COMMANDS):
    main.add_command(command)
