// ioredis's cluster client against a sharded keyspace, by way of the node at TERCET_ADDRESS. The store is erased.
import assert from "node:assert/strict";
import { Cluster } from "ioredis";

const [host, port] = process.env.TERCET_ADDRESS.split(":");

const tours = {
  async keysOfAllSlots(r) {
    await Promise.all(Array.from({ length: 300 }, (_, n) => r.set(`k:${n}`, n)));
    const values = await Promise.all(Array.from({ length: 300 }, (_, n) => r.get(`k:${n}`)));
    assert.deepEqual(values, Array.from({ length: 300 }, (_, n) => String(n)));
  },

  async shards(r) {
    const slots = await r.cluster("SLOTS");
    assert.deepEqual(slots.map(([first, last]) => last - first + 1).reduce((a, b) => a + b), 16384);
    assert.equal(new Set(slots.map(([, , leader]) => leader[1])).size, 3);
    assert.equal(r.nodes("master").length, 3);
  },

  async hashTags(r) {
    await r.mset("{t}a", 1, "{t}b", 2);
    assert.deepEqual(await r.mget("{t}a", "{t}b"), ["1", "2"]);
    const replies = await r.multi().incr("{t}a").incr("{t}b").exec();
    assert.deepEqual(replies, [[null, 2], [null, 3]]);
  },

  async readsOfCopies() {
    const r = new Cluster([{ host, port: Number(port) }], { scaleReads: "slave" });
    await r.set("copied", "1");
    for (let tries = 0; (await r.get("copied")) !== "1"; tries += 1) assert.ok(tries < 100);
    r.disconnect();
  },

  async severalSlotsAreRefused(r) {
    await assert.rejects(r.mget("foo", "bar"), /slot/i);
  },
};

let failed = 0;
for (const [name, tour] of Object.entries(tours)) {
  const r = new Cluster([{ host, port: Number(port) }]);
  try {
    await r.flushall();
    await tour(r);
  } catch (error) {
    failed += 1;
    console.log(`  FAILED: ioredis cluster ${name}: ${error.stack}`);
  }
  r.disconnect();
}
console.log(`ioredis cluster: ${Object.keys(tours).length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
