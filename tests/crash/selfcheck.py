"""The harness must be able to fail: `python -m tests.crash.selfcheck`.

Each guard of orderdrain is taken out, and a day is lived that does not end well without it: a line says which promises
were broken. The same kinds of day, with every guard in its place, must break none.
"""

from __future__ import annotations

import sys
import time

from tests.crash.day import broken_promises, told
from tests.crash.guards import GUARDS, Guard
from tests.crash.runs import lived, nothing, undisturbed
from tests.crash.world import running_servers, shared_out


def main():
    began = time.monotonic()
    kinds = dict.fromkeys(guard.run for guard in GUARDS)
    with running_servers() as servers:
        wanted = lived(undisturbed, servers)

        def check(servers, case):
            expected_red, guard = case
            try:
                broken = broken_promises(lived(guard.run, servers, guard.off), wanted)
            except RuntimeError as error:
                print(f"{guard.name}: FAILED: {error}", flush=True)
                return False
            seen = f"red ({told(broken)})" if broken else "NOT NOTICED" if expected_red else "green"
            print(f"{guard.name}: {seen}", flush=True)
            return bool(broken) == expected_red

        cases = [(False, Guard(f"every guard, {kind.__name__}", nothing, kind)) for kind in kinds]
        cases += [(True, Guard(f"guard {guard.name}", guard.off, guard.run)) for guard in GUARDS]
        right = shared_out(servers, check, cases)
    print(f"self-check: {len(GUARDS)} guards, {right.count(False)} wrong, {time.monotonic() - began:.0f} s")
    sys.exit(not all(right))


if __name__ == "__main__":
    main()
