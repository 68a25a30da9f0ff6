"""redis-py as its users write it, against the server at TERCET_ADDRESS. The store is erased.

Runs unchanged with redis-py 5 (RESP2) and 8 (RESP3 by default). Every function whose name begins with
`tour_` is one story; one that fails does not stop the others.
"""

import threading
import time

import redis

from tours import HOST, PORT, run, same


def connect(**options):
    """A client that never retries by itself: a smoke test must see what the server says."""
    options.setdefault("decode_responses", True)
    return redis.Redis(host=HOST, port=int(PORT), socket_timeout=10, **options)


def refused(word, call):
    try:
        seen = call()
    except redis.ResponseError as error:
        assert word in str(error), f"expected an error with {word!r}, got {error}"
    else:
        raise AssertionError(f"expected an error with {word!r}, got {seen!r}")


def tour_connection(r):
    same(r.ping(), True)
    same(r.echo("hello"), "hello")
    same(r.client_setname("tour"), True)
    same(r.client_getname(), "tour")
    assert r.client_id() > 0
    assert any(client["name"] == "tour" for client in r.client_list())
    info = r.info()
    assert info["redis_version"].count(".") == 2, info["redis_version"]
    # Any node takes any command, and says whether it leads: the first one need not.
    assert info["role"] in ("master", "slave"), info["role"]
    assert isinstance(r.config_get("maxclients")["maxclients"], str)
    assert len(r.time()) == 2
    assert "get" in r.command()


def tour_options(r):
    """WITH and CONSISTENCY are commands like others: no client needs to know them."""
    r.delete("once", "a")
    for _ in range(3):
        same(r.execute_command("WITH", "REQUEST", "tour:1", "DO", "INCR", "once"), 1)
    reply, receipt = r.execute_command("WITH", "RECEIPT", "COMMIT", "majority", "DO", "INCR", "a")
    same(reply, 1)
    if not isinstance(receipt, dict):
        receipt = dict(zip(receipt[::2], receipt[1::2]))
    same((receipt["kind"], receipt["outcome"], receipt["asked"]), ("write", "committed", "COMMIT majority"))
    with r.pipeline(transaction=False) as pipe:
        pipe.execute_command("WITH", "LEVEL", "applied", "DO", "INCR", "a")
        pipe.execute_command("WITH", "ACKS", "0", "DO", "SET", "b", "1")
        pipe.get("b")
        same(pipe.execute(), [2, "OK", "1"])
    refused("unknown option 'NOSUCH'", lambda: r.execute_command("WITH", "NOSUCH", "1", "DO", "GET", "a"))
    same(r.command_getkeys("WITH", "ACKS", "1", "DO", "MSET", "x", "1", "y", "2"), ["x", "y"])


def tour_strings(r):
    same(r.set("a", "1", ex=100), True)
    assert 98 <= r.ttl("a") <= 100
    same(r.set("a", "2", nx=True), None)
    same(r.set("a", "2", xx=True, get=True), "1")
    same(r.incr("n", 5), 5)
    same(r.decr("n"), 4)
    same(r.incrbyfloat("f", 1.5), 1.5)
    same(r.append("s", "hello"), 5)
    same(r.getrange("s", 1, 3), "ell")
    same(r.setrange("s", 0, "J"), 5)
    same(r.mset({"x": 1, "y": 2}), True)
    same(r.mget("x", "y", "none"), ["1", "2", None])
    same(r.msetnx({"x": 3, "z": 4}), False)
    same(r.getdel("x"), "1")
    same(r.getex("y", ex=50), "2")
    same(r.strlen("s"), 5)
    refused("not an integer", lambda: r.incr("s"))


def tour_binary(_):
    r = connect(decode_responses=False)
    value = bytes(range(256)) * 64
    r.set(b"\x00\xff", value)
    same(r.get(b"\x00\xff"), value)


def tour_keys(r):
    r.mset({f"key:{n}": n for n in range(200)})
    same(r.exists("key:1", "key:2", "none"), 2)
    same(len(set(r.scan_iter("key:*", count=17))), 200)
    same(len(r.keys("key:1?")), 10)
    same(r.rename("key:1", "renamed"), True)
    same(r.copy("renamed", "copied"), True)
    same(r.type("copied"), "string")
    same(r.expire("copied", 100), True)
    same(r.persist("copied"), True)
    same(r.touch("copied", "none"), 1)
    same(r.unlink("copied", "renamed"), 2)
    same(r.delete("key:2", "none"), 1)
    same(r.dbsize(), 198)
    assert r.randomkey().startswith("key:")
    same(r.pexpire("key:3", 20), True)
    time.sleep(0.06)
    same(r.get("key:3"), None)


def tour_hashes(r):
    same(r.hset("h", mapping={"a": 1, "b": 2}), 2)
    same(r.hgetall("h"), {"a": "1", "b": "2"})
    same(r.hmget("h", "a", "none"), ["1", None])
    same(r.hincrby("h", "a", 4), 5)
    same(r.hincrbyfloat("h", "c", 0.5), 0.5)
    same(sorted(r.hkeys("h")), ["a", "b", "c"])
    same(r.hdel("h", "c"), 1)
    same(r.hexists("h", "c"), False)
    same(dict(r.hscan_iter("h")), {"a": "5", "b": "2"})
    same(r.hsetnx("h", "a", 9), 0)
    same(r.hlen("h"), 2)


def tour_lists(r):
    same(r.rpush("l", "a", "b", "c"), 3)
    same(r.lpush("l", "z"), 4)
    same(r.lrange("l", 0, -1), ["z", "a", "b", "c"])
    same(r.lpop("l"), "z")
    same(r.rpop("l", 2), ["c", "b"])
    same(r.linsert("l", "AFTER", "a", "b"), 2)
    same(r.lindex("l", -1), "b")
    same(r.lset("l", 0, "A"), True)
    same(r.lmove("l", "m", "LEFT", "RIGHT"), "A")
    same(r.lpos("m", "A"), 0)
    same(r.ltrim("m", 1, 0), True)
    same(r.exists("m"), 0)
    same(r.lrem("l", 0, "b"), 1)


def tour_blocking(r):
    def push_later():
        time.sleep(0.1)
        connect().rpush("queue", "job")

    thread = threading.Thread(target=push_later)
    thread.start()
    same(list(r.blpop(["other", "queue"], timeout=5)), ["queue", "job"])
    thread.join()
    began = time.monotonic()
    same(r.blpop("queue", timeout=0.2), None)
    assert time.monotonic() - began < 2
    r.zadd("z", {"m": 1})
    same(list(r.bzpopmin("z", timeout=1)), ["z", "m", 1.0])


def tour_sets(r):
    same(r.sadd("s", "a", "b", "c"), 3)
    same(r.sadd("t", "b", "c", "d"), 3)
    same(r.smembers("s"), {"a", "b", "c"})
    same(set(r.sinter("s", "t")), {"b", "c"})
    same(set(r.sdiff("s", "t")), {"a"})
    same(r.sunionstore("u", "s", "t"), 4)
    assert r.sismember("s", "a")
    same([bool(x) for x in r.smismember("s", ["a", "x"])], [True, False])
    assert r.srandmember("s") in "abc"
    assert r.spop("s") in "abc"
    same(r.scard("s"), 2)
    same(set(r.sscan_iter("t")), {"b", "c", "d"})
    same(r.srem("t", "b", "none"), 1)


def tour_sorted_sets(r):
    same(r.zadd("z", {"a": 1, "b": 2.5, "c": 3}), 3)
    same(r.zscore("z", "b"), 2.5)
    same(r.zincrby("z", 2, "a"), 3.0)
    same(r.zrange("z", 0, -1), ["b", "a", "c"])
    same([tuple(pair) for pair in r.zrange("z", 0, 0, withscores=True)], [("b", 2.5)])
    same(r.zrangebyscore("z", "(2.5", "+inf"), ["a", "c"])
    same(r.zrank("z", "a"), 1)
    same(r.zcount("z", 0, 10), 3)
    same([tuple(pair) for pair in r.zpopmin("z")], [("b", 2.5)])
    same(r.zmscore("z", ["a", "none"]), [3.0, None])
    same(dict(r.zscan_iter("z")), {"a": 3.0, "c": 3.0})
    same(r.zunionstore("u", {"z": 2}), 2)
    same(r.zremrangebyscore("u", 6, 6), 2)


def tour_pipelines(r):
    with r.pipeline(transaction=False) as pipe:
        for number in range(500):
            pipe.set(f"p:{number}", number)
        for number in range(500):
            pipe.get(f"p:{number}")
        replies = pipe.execute()
    same(replies[500:], [str(number) for number in range(500)])
    with r.pipeline() as pipe:
        pipe.incr("count").incr("count").get("count")
        same(pipe.execute(), [1, 2, "2"])


def tour_watch(r):
    r.set("balance", 10)
    with r.pipeline() as pipe:
        pipe.watch("balance")
        connect().set("balance", 20)
        pipe.multi()
        pipe.set("balance", 11)
        try:
            pipe.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("the watched key changed, and EXEC went through")
    same(r.get("balance"), "20")

    def move(pipe):
        balance = int(pipe.get("balance"))
        pipe.multi()
        pipe.set("balance", balance - 5)

    same(r.transaction(move, "balance"), [True])
    same(r.get("balance"), "15")


def tour_publish_subscribe(r):
    subscriber = connect().pubsub()
    subscriber.subscribe("news")
    subscriber.psubscribe("n*")
    kinds = [wait_for_message(subscriber)["type"] for _ in range(2)]
    same(kinds, ["subscribe", "psubscribe"])
    same(r.publish("news", "hello"), 2)
    seen = sorted(wait_for_message(subscriber)["type"] for _ in range(2))
    same(seen, ["message", "pmessage"])
    same(r.pubsub_numsub("news"), [("news", 1)])
    subscriber.unsubscribe("news")
    same(wait_for_message(subscriber)["type"], "unsubscribe")
    subscriber.close()


def wait_for_message(subscriber):
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        message = subscriber.get_message(timeout=1)
        if message is not None:
            return message
    raise AssertionError("no message within five seconds")


def tour_databases(r):
    r.set("a", "zero")
    other = connect(db=3)
    same(other.get("a"), None)
    other.set("a", "three")
    same(r.get("a"), "zero")
    same(other.flushdb(), True)
    same(r.get("a"), "zero")


def tour_errors(r):
    r.set("a", "text")
    refused("WRONGTYPE", lambda: r.lpush("a", "x"))
    refused("unknown command", lambda: r.execute_command("NOSUCHCOMMAND"))
    refused("wrong number of arguments", lambda: r.execute_command("GET"))
    refused("syntax", lambda: r.execute_command("SET", "a", "b", "WHAT"))
    same(r.get("a"), "text")


def tour_both_protocols(_):
    for protocol in (2, 3):
        r = connect(protocol=protocol)
        r.hset("h", "f", "1")
        same(r.hgetall("h"), {"f": "1"})
        r.zadd("z", {"m": 1.5})
        same(r.zscore("z", "m"), 1.5)
        same(r.get("none"), None)


if __name__ == "__main__":
    run("redis-py", globals(), connect, lambda r: r.flushall())
