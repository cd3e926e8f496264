"""Every number that decides how long, how often and how many, each with its reason. Spans are application time."""

from __future__ import annotations

import random
from datetime import timedelta

#: Attempts at one step before a person must look: with the backoff below, a day of Amazon's trouble is ridden out.
MAX_ATTEMPTS = 8
#: The wait after a failed attempt, doubled with each one more, up to the last.
FIRST_BACKOFF = timedelta(seconds=30)
LAST_BACKOFF = timedelta(hours=1)

#: A wrong or cut body is fetched again within the attempt, this often in all: a broken file is not a broken Amazon.
DOWNLOADS_AN_ATTEMPT = 3
#: Bytes that the archive has lost are downloaded again, this often: more is a fault of the set-up, not of a disk.
ARCHIVE_LOSSES = 3
#: A listing whose NextToken is lost begins again, this often in one task.
RESTARTS_A_LISTING = 3

#: Amazon keeps reports for 90 days (MWS documentation; SP-API model), order reports at SP-API for 30 (its help page on
#: them): one that has less than a week left goes first. Where the time is counted from when a report was asked for, and
#: not from when it was finished, the week covers the difference.
HURRY_AFTER = {"mws": timedelta(days=90 - 7), "sp-api": timedelta(days=30 - 7)}
#: One UpdateReportAcknowledgements takes up to 100 ids (MWS documentation).
ACKNOWLEDGE_AT_ONCE = 100

#: An account may declare to be listed so often, in minutes: more often than any API restores (getReports: one in 45 s),
#: and at least as often as the listing without the filter is due.
LIST_EVERY_MINUTES = (0.5, 24 * 60)
#: How often an account is listed without the Acknowledged filter, and its report schedules compared.
DAILY = timedelta(days=1)
#: A full listing reaches back behind the begin of the last complete one by this: reports appear late. SP-API's listings
#: are by the time at which a report was asked for, and users saw one take ten hours until it was made.
OVERLAP = {"mws": timedelta(hours=2), "sp-api": timedelta(hours=26)}

#: A requested report is looked after this soon, and then ever more rarely: most are made within a minute or two, but
#: users report 1 to 10 hours. A look each 15 minutes stays far within the 80 calls an hour of GetReportRequestList, one
#: for all (MWS documentation), and within the two a second of getReport, one for each (SP-API model).
FIRST_LOOK = timedelta(seconds=45)
LAST_LOOK = timedelta(minutes=15)
#: One that is still being made after this is shown as stuck, and asked for once more.
STUCK_AFTER = timedelta(hours=24)

#: A notice makes its account's listing due, but not sooner than this after the last one was sent: a flood of them, true
#: or forged, then costs no more calls than GetReportList and getReports restore (one in 60 s, one in 45 s).
LISTINGS_APART = timedelta(minutes=1)
#: What a notice announces cannot be had at once at times: its message comes again after this, so often in all. After
#: ten minutes it is forged, or the listing finds it.
NOTICE_AGAIN = timedelta(minutes=1)
NOTICE_RECEIVES = 10
#: Real seconds that one task reads what never gets empty, and that it waits at an empty queue: long polling, which asks
#: all of SQS's servers (its documentation). At a tick every 10 s that takes a fifth of one process.
LISTEN_SECONDS = 30
LISTEN_WAIT_SECONDS = 2
#: SQS keeps a message for 14 days at most: a copy of what was announced before cannot come any more.
NOTICES_KEPT = timedelta(days=15)

#: Push works where so many listings in a row found new reports, and each of those had been announced. One that was not,
#: this long after it was there, and push does not work: notices come within seconds, or some minutes late.
PUSH_LISTINGS = 3
PUSH_GRACE = timedelta(minutes=5)
#: Where push works an account is listed so much more rarely, but once an hour at least: that is how late the one report
#: may be whose notice is lost, since Amazon promises none for scheduled reports (documentation of both APIs).
PUSHED_LISTINGS_RARER = 4
PUSHED_LIST_EVERY = timedelta(hours=1)

#: A report that came to nothing is asked for again after this, each time after four times as long: users saw Amazon
#: refuse what was asked for more often than every one, two or four hours; and these ride out a day of its trouble.
FIRST_ASKED_AGAIN = timedelta(hours=1)
#: So often, where Amazon could not make it (FATAL). CANCELLED also says "no data": that is asked again once at most.
FATAL_ASKED_AGAIN = 3
#: ... and only where the emptiness is news: there were reports for a day or longer, and none of a week was empty. A
#: shop that is quiet at night or on Sundays has had an empty one within a week.
EMPTY_IS_NEWS_AFTER = timedelta(days=1)
EMPTY_REMEMBERED = timedelta(days=7)
#: A window that is not had is told for so long: order reports on request reach back 60 days (MWS documentation).
GAP_TOLD = timedelta(days=60)

#: Real seconds after which a step that takes long says how far it is, and again each time: to Postgres, Flower and the
#: terminal. Most steps end before, and then nothing is written.
PROGRESS_SECONDS = 5

#: A part of ours (the archive, Redis) is away: the report waits this long, no attempt spent.
DEPENDENCY_WAIT = timedelta(seconds=30)


def backoff(attempt: int) -> timedelta:
    """The wait after failed attempt number `attempt`, with jitter: what failed together is not tried together."""
    ceiling = min(FIRST_BACKOFF * float(2 ** min(attempt - 1, 20)), LAST_BACKOFF)
    jitter = random.uniform(0.1, 1.0)  # noqa: S311 - spreading load, not guarding a secret
    return ceiling * jitter


def next_look(age: timedelta) -> timedelta:
    """When to look again after a requested report that is `age` old: after as long again, within bounds."""
    return min(max(age, FIRST_LOOK), LAST_LOOK)
