// ioredis as its users write it, against the server at TERCET_ADDRESS. The store is erased.
import assert from "node:assert/strict";
import Redis from "ioredis";

const [host, port] = process.env.TERCET_ADDRESS.split(":");

// Never retries by itself: a smoke test must see what the server says.
const connect = (options = {}) =>
  new Redis({ host, port: Number(port), maxRetriesPerRequest: 0, retryStrategy: null, ...options });

const tours = {
  async strings(r) {
    assert.equal(await r.set("a", "1", "EX", 100), "OK");
    assert.ok((await r.ttl("a")) > 90);
    assert.equal(await r.incr("n"), 1);
    assert.deepEqual(await r.mget("a", "none"), ["1", null]);
    assert.equal(await r.set("a", "2", "NX"), null);
    assert.deepEqual(await r.getBuffer("a"), Buffer.from("1"));
  },

  async collections(r) {
    await r.hset("h", { a: 1, b: 2 });
    assert.deepEqual(await r.hgetall("h"), { a: "1", b: "2" });
    await r.rpush("l", "a", "b", "c");
    assert.deepEqual(await r.lrange("l", 0, -1), ["a", "b", "c"]);
    await r.sadd("s", "x", "y");
    assert.deepEqual((await r.smembers("s")).sort(), ["x", "y"]);
    await r.zadd("z", 1, "one", 2.5, "two");
    assert.equal(Number(await r.zscore("z", "two")), 2.5);
    assert.deepEqual(await r.zrangebyscore("z", 1, "+inf"), ["one", "two"]);
  },

  async autoPipelining() {
    const r = connect({ enableAutoPipelining: true });
    await Promise.all(Array.from({ length: 500 }, (_, n) => r.set(`k:${n}`, n)));
    const values = await Promise.all(Array.from({ length: 500 }, (_, n) => r.get(`k:${n}`)));
    assert.deepEqual(values, Array.from({ length: 500 }, (_, n) => String(n)));
    r.disconnect();
  },

  async pipelines(r) {
    const replies = await r.pipeline().set("a", 1).incr("a").lpush("a", "x").get("a").exec();
    assert.deepEqual([replies[0], replies[1], replies[3]], [[null, "OK"], [null, 2], [null, "2"]]);
    assert.match(replies[2][0].message, /WRONGTYPE/);
  },

  async transactions(r) {
    assert.deepEqual(await r.multi().set("a", 1).incr("a").exec(), [[null, "OK"], [null, 2]]);
    const other = connect();
    await r.watch("a");
    await other.set("a", 9);
    assert.equal(await r.multi().set("a", 5).exec(), null);
    assert.equal(await r.get("a"), "9");
    other.disconnect();
  },

  async blocking(r) {
    const other = connect();
    const popped = r.blpop("queue", 5);
    await other.rpush("queue", "job");
    assert.deepEqual(await popped, ["queue", "job"]);
    other.disconnect();
  },

  async publishSubscribe(r) {
    const subscriber = connect();
    const heard = new Promise((resolve) => subscriber.on("message", (...message) => resolve(message)));
    assert.equal(await subscriber.subscribe("news"), 1);
    assert.equal(await r.publish("news", "hello"), 1);
    assert.deepEqual(await heard, ["news", "hello"]);
    assert.equal(await subscriber.unsubscribe("news"), 0);
    subscriber.disconnect();
  },

  async scanStreams(r) {
    await r.mset(Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`scan:${n}`, n])));
    const found = new Set();
    for await (const keys of r.scanStream({ match: "scan:*", count: 20 })) keys.forEach((key) => found.add(key));
    assert.equal(found.size, 300);
  },

  async errors(r) {
    await assert.rejects(r.call("NOSUCHCOMMAND"), /unknown command/);
    await r.set("a", "text");
    await assert.rejects(r.incr("a"), /not an integer/);
    assert.equal(await r.get("a"), "text");
  },

  async databases(r) {
    await r.set("a", "zero");
    const other = connect({ db: 2 });
    assert.equal(await other.get("a"), null);
    other.disconnect();
  },
};

let failed = 0;
for (const [name, tour] of Object.entries(tours)) {
  const r = connect();
  try {
    await r.flushall();
    await tour(r);
  } catch (error) {
    failed += 1;
    console.log(`  FAILED: ioredis ${name}: ${error.stack}`);
  }
  r.disconnect();
}
console.log(`ioredis: ${Object.keys(tours).length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
