"""Days of one kind each, lived with every guard or with one taken out: what do they end in?

A run takes a world and `off`, which takes a guard out of each process that lives in it; it returns what the day ended in.
"""

from __future__ import annotations

from dataclasses import astuple

from orderdrain import pipeline
from orderdrain.reports import ReportKey, State
from tests.crash import day
from tests.crash.doors import Effect, Watch, die
from tests.crash.world import LEASE_SECONDS, Died, forked, new_world


def nothing():
    """Takes no guard out."""


def lived(run, servers, off=nothing):
    """What a day of that kind ends in, in a world of its own."""
    with new_world(servers) as world:
        day.stage(world.amazon)
        seen = run(world, off)
    return {**seen, "too early": world.amazon.too_early}


def undisturbed(world, off):
    """One worker, nobody dies."""
    return forked(_live, world, off)


def death_before(effect, nth=1):
    """The worker dies before this effect; where the day has several such, before that one of them, from 1.

    It is not told by its number among all: where a wait ends a moment later, what comes after it is numbered otherwise.
    """

    def run(world, off):
        try:
            went_on = forked(_live, world, off, (effect, nth))
        except Died:
            return forked(_live_on, world, off)
        times = sum(str(Effect(*each)) == effect for each in went_on["effects"])
        raise RuntimeError(f"nobody died before {effect}, occurrence {nth}: it happened {times} times")

    run.__name__ = f"death before {effect}"
    return run


def _live(world, off, deadly=None):
    off()
    watch = Watch({deadly: die} if deadly else ())
    with day.worker(world, watch) as drain:
        day.declare_accounts(drain)
        watch.stand_at_the_doors(world.archive)
        day.live(drain)
        return {**day.outcome(drain), "effects": [astuple(effect) for effect in watch.effects]}


def _live_on(world, off):
    off()
    with day.worker(world) as drain:
        day.live_on(drain, world)
        return day.outcome(drain)


# --------------------------------------------------------------------------------------------- two workers who meet


def meeting(play):
    """Two workers and no fault of Amazon's. `play` is their meeting, and returns the numbers that must be 0; after it
    the day goes on. `watch.meanwhile[effect]`: what the second does before that effect of the first."""

    def live(world, off):
        watch = Watch()
        off()
        with day.worker(world, watch) as first, day.worker(world) as second:
            day.declare_accounts(first)
            first.amazon("faults", clear=True)
            watch.stand_at_the_doors(world.archive)
            counted = play(first, second, watch.meanwhile)
            day.live_on(first, world)
            return {**day.outcome(first), "counted": counted}

    def run(world, off):
        return forked(live, world, off)

    run.__name__ = play.__name__.replace("_", " ")
    return run


@meeting
def paused_past_its_lease(first, second, meanwhile):
    """The first sleeps with the bytes in its hands; its lease runs out, and the second is at work when it wakes."""
    message = _listed(first)[0]
    key = ReportKey(**message)

    def take_over():
        second.advance(minutes=day.STRIDE)
        assert second.s.ledger.lease(key, State.LISTED, "the second")

    meanwhile["download: Writer.commit: os.rename"] = take_over
    said = first.run_message("download", message)
    row = second.row(key.report_id)
    kept = (row.state, row.lease_owner, row.archive_key) == ("listed", "the second", None)
    return {"changed_without_lease": int(not kept), "not_said": int("lost its lease" not in said)}


@meeting
def delivered_twice_after_a_jump(first, second, meanwhile):
    """Postgres's clock jumps, so that every lease looks run out; then the message of a report at work comes again."""
    message = _listed(first)[0]

    def again():
        second.advance(minutes=day.STRIDE)
        second.run_message("download", message)

    meanwhile["download: Writer.commit: os.rename"] = again
    first.run_message("download", message)
    return {"downloaded_twice": len(first.calls("GetReport")) - 1}


@meeting
def listed_by_two_after_a_jump(first, second, meanwhile):
    """The same, of a listing between two pages."""

    def again():
        second.advance(minutes=day.STRIDE)
        second.run_message("list", {"account": "acme"})

    meanwhile["list: MwsReports.list_reports: Redis EVALSHA #2"] = again
    first.run_message("list", {"account": "acme"})
    return {"overlapping_listings": len(first.calls("GetReportList")) - 1}


@meeting
def listed_by_two_after_a_flush(first, second, meanwhile):
    """Redis forgets the lock of a listing between two pages, and the account's list message comes again."""

    def again():
        second.s.redis.flushdb()
        second.run_message("list", {"account": "acme"})

    meanwhile["list: MwsReports.list_reports: Redis EVALSHA #2"] = again
    first.run_message("list", {"account": "acme"})
    return {"overlapping_listings": len(first.calls("GetReportList")) - 1}


@meeting
def refreshed_by_two(first, second, meanwhile):
    """An access token is asked for while another worker is being given one."""

    def meet():
        second.run_message("schedule", {"account": "cedar"})

    meanwhile["list: SpApiReports.list_reports: call to Amazon"] = meet
    before = len(first.calls("LWA"))
    first.run_message("list", {"account": "cedar"})
    return {"refreshed_twice": len(first.calls("LWA")) - before - 1}


@meeting
def messages_lost(first, second, meanwhile):
    """Nobody takes the messages of the downloads: after a lease's length the next sweep must send them again."""
    lost = _listed(first)
    first.advance(seconds=LEASE_SECONDS)
    pipeline.sweep(first.s)
    return {"left_unsent": len(lost) - len(first.take_messages("download"))}


def _listed(drain):
    """Lists acme; returns the messages of its downloads, taken from the broker."""
    drain.run_message("list", {"account": "acme"})
    return drain.take_messages("download")
