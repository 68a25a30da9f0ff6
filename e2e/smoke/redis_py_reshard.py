"""redis-py's cluster client writes while the keyspace at TERCET_ADDRESS gets three shards, then two. The argument: keys that
are there before. Prints what was moved how fast, and the longest that any write had to wait."""

import json
import os
import sys
import threading
import time

import redis
from redis.cluster import RedisCluster

HOST, PORT = os.environ["TERCET_ADDRESS"].rsplit(":", 1)
KEYS = int(sys.argv[1])
WRITERS = 4


def connect():
    return RedisCluster(host=HOST, port=int(PORT), decode_responses=True, socket_timeout=10)


class Writer(threading.Thread):
    """Sets keys of its own and counts on others; every acknowledged write is remembered."""

    def __init__(self, number):
        super().__init__()
        self.number, self.stop, self.written, self.longest = number, False, 0, 0.0
        self.counts = [0] * 20
        self.error = None

    def run(self):
        client = connect()
        try:
            while not self.stop:
                began = time.monotonic()
                if self.written % 2 == 0:
                    client.set(f"w{self.number}-{self.written}", self.written)
                else:
                    at = self.written // 2 % len(self.counts)
                    self.counts[at] += 1
                    seen = client.incr(f"c{self.number}-{at}")
                    assert seen == self.counts[at], f"counted {seen}, {self.counts[at]} were acknowledged"
                self.written += 1
                self.longest = max(self.longest, time.monotonic() - began)
                time.sleep(0.001)
        except Exception as error:
            self.error = error
        client.close()


def status(admin):
    return json.loads(admin.execute_command("KEYSPACE", "STATUS"))


def divide(admin, shards, writers, moved):
    for writer in writers:
        writer.longest = 0.0
    began = time.monotonic()
    assert admin.execute_command("KEYSPACE", "ALTER", "0", "SHARDS", shards) in ("OK", True, b"OK")
    while True:
        time.sleep(0.05)
        now = status(admin)
        groups = [group for group in now["groups"] if group["keyspace"] == "0"]
        if not now["moves"] and not now["dividing"] and len(groups) == shards:
            break
        assert time.monotonic() - began < 120, f"no end: {now['moves']}"
    took = time.monotonic() - began
    keys = int(moved * (KEYS + sum(writer.written for writer in writers) / 2))
    print(
        f"  {shards} shards after {took:.2f} s: about {keys} keys moved, {keys / took:.0f} keys/s;"
        f" the longest wait of a write {1000 * max(writer.longest for writer in writers):.0f} ms",
        flush=True,
    )


def compare(client, writers):
    for begin in range(0, KEYS, 1000):
        pipe = client.pipeline()
        names = range(begin, min(begin + 1000, KEYS))
        for n in names:
            pipe.get(f"key{n}")
        assert pipe.execute() == [f"value{n}" for n in names], f"keys from {begin} on"
    for writer in writers:
        names = range(0, writer.written, 2)
        for begin in range(0, len(names), 1000):
            pipe = client.pipeline()
            for n in names[begin : begin + 1000]:
                pipe.get(f"w{writer.number}-{n}")
            expected = [str(n) for n in names[begin : begin + 1000]]
            assert pipe.execute() == expected, f"writes of {writer.number} from {begin} on"
        for at, count in enumerate(writer.counts):
            seen = int(client.get(f"c{writer.number}-{at}") or 0)
            assert seen == count, f"counter {writer.number}-{at}: {seen}, {count} were acknowledged"


def main():
    client = connect()
    for begin in range(0, KEYS, 1000):
        pipe = client.pipeline()
        for n in range(begin, min(begin + 1000, KEYS)):
            pipe.set(f"key{n}", f"value{n}")
        pipe.execute()
    admin = redis.Redis(host=HOST, port=int(PORT), decode_responses=True)
    writers = [Writer(number) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    time.sleep(1)
    for shards, moved in ((3, 2 / 3), (2, 1 / 3)):
        divide(admin, shards, writers, moved)
        time.sleep(1)
    for writer in writers:
        writer.stop = True
    for writer in writers:
        writer.join()
    errors = [repr(writer.error) for writer in writers if writer.error]
    assert not errors, errors
    compare(connect(), writers)
    total = KEYS + sum(writer.written for writer in writers)
    print(f"reshard: 1 to 3 to 2 shards under load, {total} acknowledged writes, 0 lost, 0 twice")


if __name__ == "__main__":
    main()
