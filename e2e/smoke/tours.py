"""What both tours of redis-py share: where the server is, and how stories are run one after the other."""

import os
import sys
import traceback

import redis

HOST, PORT = os.environ["TERCET_ADDRESS"].rsplit(":", 1)


def same(seen, expected):
    assert seen == expected, f"expected {expected!r}, got {seen!r}"


def run(title, stories, connect, empty):
    """Runs every function of `stories` whose name begins with `tour_`, each with a client of its own on an empty store.

    One that fails does not stop the others. Ends the process: 0 when all passed.
    """
    tours = {name[5:]: call for name, call in stories.items() if name.startswith("tour_")}
    failed = 0
    for name, call in tours.items():
        r = connect()
        empty(r)
        try:
            call(r)
        except Exception:
            failed += 1
            print(f"  FAILED: {title} {redis.__version__} {name}", flush=True)
            traceback.print_exc(limit=-2)
        r.close()
    print(f"{title} {redis.__version__}: {len(tours) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
