"""Amazon's quotas, kept in Redis for all workers: a call that Amazon would have to refuse is not sent.

Terms. Amazon counts by seller and application: each operation of such a pair has a bucket. A call takes a token; the
bucket holds `burst` of them at most, and gains one every `restore_seconds`. Apart from that, Amazon counts calls by the
hour (`hourly`). Its hours are fixed, but where they begin differs between callers, so we count any sliding 60 minutes.
Asking never sleeps: the answer is "go", or "not before T", and T goes to the ledger.

A worked example: GetReport (burst 15, one token a minute, 60 an hour) after a long idle time.

    14:00:00  calls 1 to 14 go at once
    14:00:00  call 15: not before 14:00:10, when the bucket has gained a whole token again
    14:00:10  call 15 goes; from here on one goes a minute
    14:45:10  call 60 goes
    14:45:20  call 61: by the bucket at 14:46:10, but 60 went since 14:00:00: not before 15:00:10

Why 14 and not 15 at once, and 15:00:10 and not 15:00:00: a token is taken here, but the call counts when it reaches
Amazon, and that takes one call longer than another. If 15 slow calls were followed, 60 s after their tokens, by a quick
one, Amazon would see less than 60 s between them and refuse it. `LATE_SECONDS` is what calls may differ by.

Where Amazon restores more than half its bucket within that time, half is kept back and no more, and ours gains its
tokens more slowly instead. getReport (burst 15, two a second): 7 go at once, and then one each 1.24 s.

Why that is safe: Amazon's bucket gains no slower and holds more, and ours never begins with more. A new one
(first use, or Redis was flushed) begins with one token, and learns from the first answer how much is left of the hour.
Nothing can be known beforehand of other programs that use the same keys; their calls show in what Amazon answers: a
lower remaining hour, or a refusal, which stops that operation for every worker at once.

Amazon may also give less than it documents (users saw a third of it). It does not say so, but refuses: when it has
refused again and again, the time since the last call that went is the least that it takes to restore a token. That
pace, five times the documented at most, is then kept by everybody, one call at a time, and forgotten after six hours.
Where it does say so (SP-API, in its answers), what it says stands in place of the documented rate.

Times are application time. Of two workers whose clocks differ a little, the one that lags sees fewer tokens, not more.
A clock that was set back by more than five minutes is taken like a flush: nobody waits until it has caught up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from orderdrain.errors import Throttled
from orderdrain.redis_client import KEY_PREFIX, reaching_redis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis

    from orderdrain.clock import Clock

#: By how many seconds one call may be later at Amazon than another, each counted from its token: a slow connection.
LATE_SECONDS = 10.0

#: How far a rate that Amazon tells may be from the documented one, either way. Beyond, it is no rate of this operation.
RATE_FACTOR = 100

#: A rate is told with four digits after the point (recorded 2024 traffic: 0.0167). The true one may be so much lower,
#: and calls at the rate that was told would run ahead of it.
RATE_ROUNDING = 0.00005

#: Real seconds after which Redis forgets an unused bucket. Application time is never slower than real time, so by then
#: more than the hour that a bucket remembers has passed. Forgotten means one token instead of a full bucket: a seller
#: whose reports come at once, each night, must not wait for them one by one.
FORGET_SECONDS = 2 * 24 * 3600

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class QuotaRule:
    """One operation's documented limits. `hourly` is None where Amazon counts no hours."""

    burst: int
    restore_seconds: float
    hourly: int | None

    @property
    def restores(self) -> str:
        """`1/min`, or `1 per 45 s`."""
        return "1/min" if self.restore_seconds == 60 else f"1 per {self.restore_seconds:g} s"

    @property
    def kept_back(self) -> float:
        """How many of Amazon's tokens our bucket does not hold: what it restores while a call is late, half at most."""
        return min(LATE_SECONDS / self.restore_seconds, self.burst / 2, self.burst - 1)

    @property
    def pace_milliseconds(self) -> int:
        """How long our bucket takes to gain a token: as long as Amazon's, or longer where too few are kept back."""
        # Of n calls the last goes (n - burst + kept_back) paces after the first or later, and may reach Amazon
        # LATE_SECONDS sooner than that; there it may not before n - burst restores. Closest are these at n = burst + 1.
        seconds = max(self.restore_seconds, (LATE_SECONDS + self.restore_seconds) / (1 + self.kept_back))
        return math.ceil(round(seconds * 1000, 3))

    @property
    def room_milliseconds(self) -> int:
        """How long our bucket takes to fill: its size, in time."""
        return math.floor(round((self.burst - self.kept_back) * self.pace_milliseconds, 3))


class Quota:
    """All buckets of all sellers and applications."""

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock

    def bound_to(self, pair: str, rules: Mapping[str, QuotaRule]) -> BoundQuota:
        """The buckets of one pair of seller and application, one for each operation in `rules`."""
        return BoundQuota(self._redis, self._clock, pair, rules)


class BoundQuota:
    """The buckets of one pair. Every method may raise DependencyDown: without Redis no call is sent.

    Where a part of an operation may have a rate of its own, `operation:part` is a bucket beside the operation's, with
    the same documented limits.
    """

    def __init__(self, redis: Redis, clock: Clock, pair: str, rules: Mapping[str, QuotaRule]) -> None:
        self._redis = redis
        self._clock = clock
        self._pair = pair
        self._rules = rules
        self._ask = redis.register_script(_COMMON + _ASK)
        self._learned = redis.register_script(_COMMON + _LEARNED)
        self._learned_rate = redis.register_script(_COMMON + _LEARNED_RATE)
        self._refused = redis.register_script(_COMMON + _REFUSED)

    def take(self, operation: str) -> None:
        """Takes a token for one call, now. Raises Throttled, with the time when to ask again, and takes none."""
        self._must_go(operation, 1)

    def check(self, operation: str) -> None:
        """Raises Throttled where `take` would; takes nothing. For who would make other calls first, in vain."""
        self._must_go(operation, 0)

    def _must_go(self, operation: str, tokens: int) -> None:
        went, next_at, why, hourly = self._run(self._ask, operation, tokens)
        if not went:
            reasons = {
                b"bucket": f"quota restores {self._rule(operation).restores}",
                b"hour": f"its hourly quota of {hourly} is used up",
                b"refused": "Amazon refused a call before",
            }
            raise Throttled(f"throttled by {operation}, {reasons[why]}", until=_moment(next_at))

    def learned(
        self, operation: str, *, maximum: float | None, remaining: float | None, resets_at: datetime | None
    ) -> None:
        """What an answer's headers said of Amazon's hour: its size, what is left of it, when it ends.

        These numbers lag behind (recorded answers say "60 of 60" several times over), so within an hour they only
        ever lower what we think is left.
        """
        self._run(self._learned, operation, _number(maximum), _number(remaining), _milliseconds(resets_at))

    def learned_rate(self, operation: str, *, per_second: float) -> None:
        """What an answer said of the rate that this pair has (SP-API, x-amzn-RateLimit-Limit)."""
        rule = self._rule(operation)
        if abs(per_second - 1 / rule.restore_seconds) < RATE_ROUNDING:
            told = rule
        else:
            told = replace(rule, restore_seconds=1 / max(per_second - RATE_ROUNDING, per_second / 2))
        if rule.restore_seconds / RATE_FACTOR <= told.restore_seconds <= rule.restore_seconds * RATE_FACTOR:
            self._run(self._learned_rate, operation, told.pace_milliseconds, told.room_milliseconds)

    def refused(self, operation: str, *, hourly: bool, resets_at: datetime | None) -> datetime:
        """Amazon refused a call: nobody calls before the time that is returned.

        RequestThrottled (not `hourly`): the bucket is empty, and holds a token after one restore interval.
        QuotaExceeded (`hourly`): until Amazon's hour ends. If `resets_at` is not to come, the end that an earlier
        answer told holds, else 60 minutes: no hour ends later than that.
        """
        return _moment(self._run(self._refused, operation, int(hourly), _milliseconds(resets_at)))

    def _rule(self, operation: str) -> QuotaRule:
        return self._rules[operation.partition(":")[0]]

    def _run(self, script: Any, operation: str, *args: int) -> Any:
        rule = self._rule(operation)
        # The braces keep both keys on one node of a cluster: a script may touch only one node.
        bucket = f"{KEY_PREFIX}quota:{{{self._pair}}}:{operation}"
        bucket_size = rule.pace_milliseconds, rule.room_milliseconds
        limits = (*bucket_size, rule.hourly or 0, int(LATE_SECONDS * 1000), FORGET_SECONDS)
        now = _milliseconds(self._clock.now())
        with reaching_redis(self._redis, f"the quota of {operation}"):
            return script([bucket, f"{bucket}:hour"], [now, *limits, *args])


def _milliseconds(moment: datetime | None) -> int:
    return 0 if moment is None else (moment - _EPOCH) // timedelta(milliseconds=1)


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _number(told: float | None) -> int:
    """Amazon writes counts as "59.0"; -1 stands for nothing told."""
    return int(told) if told is not None and math.isfinite(told) else -1


# What every script begins with. All times and spans are milliseconds, whole numbers.
#
# `full_at` alone holds the bucket: when it will be full again if no call is made. A call moves it on by `restore`, and
# may go if it then lies no more than `room` ahead. So a clock that lags sees fewer tokens, never more, and nothing has
# to be refilled. The hour is a list of the times of its calls, oldest first.
_COMMON = """
local bucket, hour = KEYS[1], KEYS[2]
local now, restore, room, hourly = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local late, forget = tonumber(ARGV[5]), tonumber(ARGV[6])
local HOUR, FIVE_MINUTES = 3600000, 300000
local documented = restore

local function read()
    local row = redis.call('HMGET', bucket, 'at', 'full_at', 'blocked_until', 'told_hourly', 'left', 'hour_ends')
    for i = 1, 6 do row[i] = tonumber(row[i]) end
    return row[1], row[2], row[3], row[4], row[5], row[6]
end

local function write(...)
    redis.call('HSET', bucket, 'at', now, ...)
    redis.call('EXPIRE', bucket, forget)
end

local at, full_at, blocked_until, told_hourly, left, hour_ends = read()
if at and at > now + FIVE_MINUTES then
    redis.call('DEL', bucket, hour)
    at, full_at, blocked_until, told_hourly, left, hour_ends = read()
end
-- What Amazon told of its rate stands in place of the documented one.
local told = redis.call('HMGET', bucket, 'told_restore', 'told_room')
if told[2] then
    restore, room = tonumber(told[1]), tonumber(told[2])
    documented = restore
end
full_at = math.max(now, full_at or now + room - restore)
if hour_ends and now >= hour_ends + late then left, hour_ends = nil, nil end

-- `taken`: the last call, unless it was refused; `went`: the last one that was not; `refusals` in a row, of which each
-- call that goes takes a quarter back: a single refusal now and then teaches nothing.
local lesson = redis.call('HMGET', bucket, 'pace', 'pace_ends', 'taken', 'went', 'refusals')
for i = 1, 5 do lesson[i] = tonumber(lesson[i]) end
local pace, pace_ends, taken, went, refusals = lesson[1], lesson[2], lesson[3], lesson[4], lesson[5] or 0
if pace and now < pace_ends then restore, room = pace, pace end
"""

# -> {1 if a call may go, when one may, why not before, the limit of calls of the hour or 0}
_ASK = """
local take = ARGV[7] == '1'
local next_at, why = full_at + restore - room, 'bucket'

if hourly > 0 then
    if told_hourly then hourly = math.min(hourly, told_hourly) end
    local first = redis.call('LINDEX', hour, 0)
    while first and tonumber(first) <= now - HOUR - late do
        redis.call('LPOP', hour)
        first = redis.call('LINDEX', hour, 0)
    end
    local used = redis.call('LLEN', hour)
    local hour_at = now
    if used >= hourly then hour_at = tonumber(redis.call('LINDEX', hour, used - hourly)) + HOUR + late end
    if left and left <= 0 then hour_at = math.max(hour_at, hour_ends + late) end
    if hour_at > next_at then next_at, why = hour_at, 'hour' end
end
if blocked_until and blocked_until > now and blocked_until >= next_at then next_at, why = blocked_until, 'refused' end

local go = next_at <= now
if go and take then
    full_at = full_at + restore
    write('full_at', full_at, 'taken', now)
    if taken then write('went', taken, 'refusals', math.max(0, refusals - 0.25)) end
    if left then redis.call('HINCRBY', bucket, 'left', -1) end
    if hourly > 0 then
        redis.call('RPUSH', hour, now)
        redis.call('EXPIRE', hour, forget)
    end
end
return {go and 1 or 0, next_at, why, hourly}
"""

_LEARNED = """
local maximum, remaining, resets_at = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
if maximum >= 1 then write('told_hourly', maximum) end
-- An hour once told stands until it is over. Its end is believed only if an hour can end then.
if remaining >= 0 and resets_at > now and resets_at <= now + HOUR + FIVE_MINUTES then
    if hour_ends then
        write('left', math.min(left, remaining))
    else
        write('left', remaining, 'hour_ends', resets_at)
    end
end
return 0
"""

_LEARNED_RATE = """
local told_restore, told_room = tonumber(ARGV[7]), tonumber(ARGV[8])
if told_restore ~= documented then
    -- As many tokens as before, each of which now takes as long as told. A pace that refusals taught goes on.
    if restore == documented then
        local tokens = (room - full_at + now) / restore
        full_at = math.max(now, math.ceil(now + told_room - tokens * told_restore))
    end
    write('told_restore', told_restore, 'told_room', told_room, 'full_at', full_at)
end
return 0
"""

_REFUSED = """
local hourly_refusal, resets_at = ARGV[7] == '1', tonumber(ARGV[8])
local free_at = now + restore
if hourly_refusal then
    free_at = now + HOUR
    if hour_ends and hour_ends > now then free_at = math.min(free_at, hour_ends) end
    if resets_at > now then free_at = math.min(now + HOUR, resets_at) end
    redis.call('HDEL', bucket, 'left', 'hour_ends')
else
    redis.call('HDEL', bucket, 'taken')
    write('full_at', math.max(full_at, now + room), 'refusals', refusals + 1)
    if went and refusals + 1 >= 2 then
        local none_for = now - went
        -- Another program that took the tokens of an idle hour looks the same: it must not cost us more than this.
        pace = math.min(none_for + math.max(documented, math.floor(none_for / 2)), 5 * documented)
        free_at = math.max(went + pace, now + documented)
        write('pace', pace, 'pace_ends', now + 6 * HOUR, 'full_at', free_at)
    end
end
free_at = math.max(free_at, blocked_until or 0)
write('blocked_until', free_at)
return free_at
"""
