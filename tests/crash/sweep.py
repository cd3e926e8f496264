"""Death at every boundary, one at a time: `python -m tests.crash.sweep [--full] [--seed N] [--point N]`.

A day is lived without a death; its outward effects are the boundaries. Then, for each of them, the same day in a world
of its own, in which the process is killed just before that effect (or just after it, which is just before the next),
and another one lives on. The end must be the same.

By default each kind of boundary is crossed once: of all effects that are alike (same step, same call, same door: the
seventh download's rename is like the second's) the seed chooses one, and whether death comes before or after it.
`--full` dies at every single effect.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import replace

from tests.crash.day import broken_promises, told
from tests.crash.doors import Effect
from tests.crash.runs import death_before, lived, undisturbed
from tests.crash.world import running_servers, shared_out


def main():
    options = _parser().parse_args()
    began = time.monotonic()
    with running_servers() as servers:
        sweep = Sweep(servers)
        points = [options.point] if options.point is not None else sweep.points(full=options.full, seed=options.seed)
        red = sweep.die_at(points)
    shown = "every effect" if options.full else f"seed {options.seed}"
    print(
        f"crash points: {len(points)} deaths at {len(sweep.effects)} effects ({shown}),"
        f" {len(red)} red, {time.monotonic() - began:.0f} s"
    )
    sys.exit(bool(red))


class Sweep:
    """The effects of an undisturbed day, what it ends in, and deaths anywhere in it."""

    def __init__(self, servers):
        self._servers = servers
        # The first day loads Redis's scripts; and what two undisturbed days end in must be the same.
        self.wanted = lived(undisturbed, servers)
        seen = lived(undisturbed, servers)
        self.effects = [Effect(*effect) for effect in seen["effects"]]
        if broken := broken_promises(seen, self.wanted):
            raise SystemExit(f"two undisturbed days differ: {broken}")

    def points(self, *, full, seed):
        """Where to die: before the effects with these numbers."""
        numbers = range(len(self.effects))
        if full:
            return list(numbers)
        alike, chance = {}, random.Random(seed)
        for number in numbers:
            alike.setdefault(replace(self.effects[number], ordinal=0), []).append(number)
        chosen = {chance.choice(numbers) + chance.choice((0, 1)) for numbers in alike.values()}
        return sorted(chosen - {len(self.effects)})

    def die_at(self, points):
        """Dies at each of the points; prints and returns those after which a promise was broken."""
        broken = shared_out(self._servers, self._die_at, points)
        return [point for point, promises in zip(points, broken, strict=True) if promises]

    def _die_at(self, servers, point):
        effect = str(self.effects[point])
        nth = sum(str(each) == effect for each in self.effects[: point + 1])
        try:
            broken = broken_promises(lived(death_before(effect, nth), servers), self.wanted)
        except RuntimeError as error:
            broken = {"failed": str(error)}
        if broken:
            print(f"RED before {effect} (--point {point}): {told(broken)}", flush=True)
        return broken


def _parser():
    parser = argparse.ArgumentParser(prog="python -m tests.crash.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="die at every single effect")
    parser.add_argument("--seed", type=int, default=1, help="which of the effects that are alike, before or after it")
    parser.add_argument("--point", type=int, help="die at this effect alone")
    return parser


if __name__ == "__main__":
    main()
