"""What the chaos run puts into the Python of its workers: reports that kill, and a clock that is off.

Python imports this module by itself where this folder is on PYTHONPATH. The workers' own code knows nothing of it.
"""

import os
import signal

#: A report whose bytes hold this kills the process that parses it, by the word that follows.
POISON = b"orderdrain-chaos-poison="


def _poisoned_parsers():
    from orderdrain import parsers

    decide = parsers.decide

    def deadly(file, **told):
        head = file.read(4096)
        file.seek(0)
        if POISON in head:
            _die(head.split(POISON)[1].split()[0].decode())
        return decide(file, **told)

    parsers.decide = deadly


def _die(how):
    if how == "MemoryError":
        raise MemoryError
    os.kill(os.getpid(), signal.Signals[how])
    signal.pause()


def _clock_off(seconds):
    from datetime import UTC, datetime, timedelta

    import time_machine

    time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True).start()


if "CHAOS_POISON" in os.environ:
    _poisoned_parsers()
if "CHAOS_CLOCK_SECONDS" in os.environ:
    _clock_off(float(os.environ["CHAOS_CLOCK_SECONDS"]))
