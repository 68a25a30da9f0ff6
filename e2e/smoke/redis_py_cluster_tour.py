"""redis-py's cluster client against a sharded keyspace, by way of the node at TERCET_ADDRESS. The store is erased."""

import redis
from redis.cluster import RedisCluster

from tours import HOST, PORT, run, same


def tour_keys_of_all_slots(r):
    for n in range(200):
        same(r.set(f"key{n}", n), True)
    same([r.get(f"key{n}") for n in range(200)], [str(n) for n in range(200)])
    same(sum(r.incr(f"counter{n % 7}") for n in range(70)), 7 * 55)


def tour_shards(r):
    primaries = r.get_primaries()
    same(len(primaries), 3)
    same(len({(node.host, node.port) for node in primaries}), 3)
    # Every node leads a shard, and none is shown in two roles.
    same(len(r.get_replicas()), 0)
    slots = r.cluster_slots()
    same(len(slots), 3)
    same(r.keyslot("foo"), 12182)
    same(int(r.cluster_keyslot("foo")), 12182)
    same(r.cluster_info()["cluster_state"], "ok")


def tour_hash_tags(r):
    same(r.mset({"{t}a": 1, "{t}b": 2}), True)
    same(r.mget("{t}a", "{t}b"), ["1", "2"])
    same(r.rename("{t}a", "{t}c"), True)
    same(r.lmove("{t}x", "{t}y"), None)
    same(r.sadd("{t}s", "1", "2"), 2)
    same(sorted(r.sinter("{t}s", "{t}s")), ["1", "2"])


def tour_several_slots_are_refused(r):
    for call in (lambda: r.execute_command("MGET", "foo", "bar"), lambda: r.rename("foo", "bar")):
        try:
            seen = call()
        except Exception as error:
            assert "slot" in str(error).lower(), error
        else:
            raise AssertionError(f"expected an error, got {seen!r}")


def tour_pipelines(r):
    pipe = r.pipeline()
    for n in range(50):
        pipe.set(f"p{n}", n)
        pipe.get(f"p{n}")
    replies = pipe.execute()
    same(replies[1::2], [str(n) for n in range(50)])


def tour_whole_keyspace(r):
    for n in range(60):
        r.set(f"scan:{n}", n)
    found = set(r.scan_iter(match="scan:*", count=10))
    same(len(found), 60)


def connect():
    return RedisCluster(host=HOST, port=int(PORT), decode_responses=True, socket_timeout=10)


def empty(r):
    r.execute_command("FLUSHALL", target_nodes=r.get_primaries()[0])


if __name__ == "__main__":
    run("redis-py cluster", globals(), connect, empty)
