//! Commands that need the connection, the node or the cluster: the node executes them, here they are only described.

use crate::call::{Call, CommandError, CommandResult};
use crate::spec::{Class, Flags, Keys, Spec, wrong_arity};

const fn node(name: &'static str, arity: i32, flags: Flags, group: &'static str) -> Spec {
    Spec {
        name,
        arity,
        flags,
        keys: Keys::None,
        class: Class::Node,
        group,
        since: "",
        summary: "",
        complexity: "",
        subcommands: &[],
        run: None,
    }
}

/// A command that may also stand in a transaction: there it is executed with the others.
const fn in_transactions(
    mut spec: Spec,
    run: for<'a, 'c, 'd> fn(&'d mut Call<'a, 'c>) -> CommandResult,
) -> Spec {
    spec.run = Some(run);
    spec
}

fn ping(call: &mut Call<'_, '_>) -> CommandResult {
    match call.rest(1) {
        [] => call.reply.simple("PONG"),
        [text] => call.reply.bulk(text),
        _ => return Err(CommandError::new(wrong_arity("ping"))),
    }
    Ok(())
}
fn echo(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.bulk(call.key(1));
    Ok(())
}
/// The transaction's own time: the same for all its commands.
fn time(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.array(2);
    call.reply.bulk_integer(call.now_ms.div_euclid(1000));
    call.reply.bulk_integer(call.now_ms.rem_euclid(1000) * 1000);
    Ok(())
}

const ALWAYS: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST);
const NO_AUTH: Flags = BUSY.and(Flags::NO_AUTH);
/// Answered even while something slow runs.
const BUSY: Flags = ALWAYS.and(Flags::ALLOW_BUSY);
const ADMIN: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE);
const READS: Flags = Flags::LOADING.and(Flags::STALE);
const PUBSUB: Flags = Flags::PUBSUB.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE);

pub const SPECS: &[Spec] = &[
    in_transactions(node("ping", -1, Flags::FAST, "connection"), ping).docs(
        "1.0.0",
        "O(1)",
        "Answers PONG or its argument.",
    ),
    in_transactions(node("echo", 2, READS.and(Flags::FAST), "connection"), echo).docs(
        "1.0.0",
        "O(1)",
        "Answers its argument.",
    ),
    node("hello", -1, NO_AUTH, "connection").docs(
        "6.0.0",
        "O(1)",
        "Chooses the protocol and introduces both sides.",
    ),
    node("auth", -2, NO_AUTH, "connection").docs("1.0.0", "O(1)", "Proves who the client is."),
    node("select", 2, READS.and(Flags::FAST), "connection").docs(
        "1.0.0",
        "O(1)",
        "Chooses the connection's keyspace, by number or by name.",
    ),
    node("quit", -1, NO_AUTH, "connection").docs("1.0.0", "O(1)", "Closes the connection after its replies."),
    node("reset", 1, NO_AUTH, "connection").docs("6.2.0", "O(1)", "Makes the connection as new."),
    node("client", -2, READS.and(Flags::NOSCRIPT), "connection")
        .subcommands(&[
            "getname", "getredir", "help", "id", "info", "kill", "list", "no-evict", "no-touch", "reply",
            "setinfo", "setname", "unblock",
        ])
        .docs("2.4.0", "Depends on the subcommand.", "What concerns client connections."),
    node("info", -1, READS, "server").docs("1.0.0", "O(1)", "Tells the state of this node."),
    node("command", -1, READS, "server")
        .subcommands(&["count", "docs", "getkeys", "help", "info", "list"])
        .docs("2.8.13", "O(N), N commands", "Tells about commands."),
    node("config", -2, ADMIN, "server").subcommands(&["get", "help", "resetstat", "rewrite", "set"]).docs(
        "2.0.0",
        "O(N), N settings",
        "Reads and changes settings of this node.",
    ),
    node("flushall", -1, Flags::WRITE, "server").docs(
        "1.0.0",
        "O(N), N keys",
        "Empties the numbered keyspaces.",
    ),
    in_transactions(node("time", 1, READS.and(Flags::FAST), "server"), time).docs(
        "2.6.0",
        "O(1)",
        "Tells this node's wall clock.",
    ),
    node("role", 1, READS.and(Flags::NOSCRIPT).and(Flags::FAST), "server").docs(
        "2.8.12",
        "O(1)",
        "Tells this node's part in the replication of the connection's keyspace.",
    ),
    node("wait", 3, Flags::NOSCRIPT, "generic").docs(
        "3.0.0",
        "O(1)",
        "Waits until so many replicas hold the connection's last write.",
    ),
    node("waitaof", 4, Flags::NOSCRIPT, "generic").docs(
        "7.2.0",
        "O(1)",
        "Waits until so many nodes have flushed the connection's last write.",
    ),
    node("multi", 1, BUSY, "transactions").docs("1.2.0", "O(1)", "Begins to queue commands."),
    node("exec", 1, READS.and(Flags::NOSCRIPT), "transactions").docs(
        "1.2.0",
        "Depends on the commands.",
        "Executes the queued commands as one entry.",
    ),
    node("discard", 1, BUSY, "transactions").docs(
        "2.0.0",
        "O(N), N queued commands",
        "Forgets the queued commands.",
    ),
    Spec { keys: Keys::Range { first: 1, last: -1, step: 1 }, ..node("watch", -2, BUSY, "transactions") }
        .docs("2.2.0", "O(N), N keys", "Lets the next EXEC run only if these keys stay as they are."),
    node("unwatch", 1, BUSY, "transactions").docs("2.2.0", "O(1)", "Forgets the watched keys."),
    node("subscribe", -2, PUBSUB, "pubsub").docs("2.0.0", "O(N), N channels", "Listens to channels."),
    node("unsubscribe", -1, PUBSUB, "pubsub").docs(
        "2.0.0",
        "O(N), N channels",
        "Stops listening to channels.",
    ),
    node("psubscribe", -2, PUBSUB, "pubsub").docs(
        "2.0.0",
        "O(N), N patterns",
        "Listens to channels by pattern.",
    ),
    node("punsubscribe", -1, PUBSUB, "pubsub").docs(
        "2.0.0",
        "O(N), N patterns",
        "Stops listening to channels by pattern.",
    ),
    node("publish", 3, Flags::PUBSUB.and(READS).and(Flags::FAST), "pubsub").docs(
        "2.0.0",
        "O(N), N listeners",
        "Sends a message to a channel's listeners on every node.",
    ),
    node("pubsub", -2, PUBSUB, "pubsub").subcommands(&["channels", "help", "numpat", "numsub"]).docs(
        "2.8.0",
        "O(N), N channels",
        "Tells who listens on this node.",
    ),
    node("shutdown", -1, ADMIN.and(Flags::NO_MULTI).and(Flags::ALLOW_BUSY), "server").docs(
        "1.0.0",
        "O(1)",
        "Ends this node.",
    ),
    node("cluster", -2, READS, "cluster")
        .subcommands(&["countkeysinslot", "help", "info", "keyslot", "myid", "nodes", "shards", "slots"])
        .docs("3.0.0", "O(N), N nodes", "Tells about the nodes of the cluster."),
    node("keyspace", -2, READS, "tercet")
        .subcommands(&[
            "alter",
            "create",
            "drop",
            "help",
            "info",
            "list",
            "remove-node",
            "status",
            "switchover",
        ])
        .docs("0.1.0", "O(N), N keyspaces", "Makes, changes and shows keyspaces; moves leadership."),
    node("changes", -2, READS, "tercet").docs(
        "0.1.0",
        "O(N), N entries",
        "Tells the committed changes of a keyspace in their order, for programs that follow it.",
    ),
    node("inbox", -2, READS, "tercet").subcommands(&["ack", "get", "help", "list", "resolve", "subscribe"]).docs(
        "0.1.0",
        "O(N), N conflicts",
        "Shows conflicts and what became of them, says what they come to, lets them go.",
    ),
    node("ledger", -2, READS, "tercet").subcommands(&["ack", "get", "help", "list", "reapply"]).docs(
        "0.1.0",
        "O(N), N lost writes",
        "Shows writes that a failover lost, applies them again, lets them go.",
    ),
    node("receipt", -1, READS.and(Flags::FAST), "tercet").docs(
        "0.1.0",
        "O(1)",
        "Tells what the connection's last command achieved.",
    ),
    Spec { keys: Keys::Inner, ..node("with", -4, READS.and(Flags::NOSCRIPT), "tercet") }.docs(
        "0.1.0",
        "Depends on the command.",
        "Executes the command behind DO with these options: what it waits for, its receipt, its own request id.",
    ),
    node("consistency", -1, READS.and(Flags::NOSCRIPT).and(Flags::FAST), "tercet").docs(
        "0.1.0",
        "O(1)",
        "Sets, shows or resets how the connection's commands are answered: what writes wait for, who answers reads.",
    ),
    node("readonly", 1, READS.and(Flags::FAST), "cluster").docs(
        "3.0.0",
        "O(1)",
        "Lets this connection's reads be answered by the node's own copy, however old.",
    ),
    node("asking", 1, READS.and(Flags::FAST), "cluster").docs(
        "3.0.0",
        "O(1)",
        "Accepted from clients of Redis Cluster; no node ever answers ASK.",
    ),
    node("readwrite", 1, READS.and(Flags::FAST), "cluster").docs(
        "3.0.0",
        "O(1)",
        "Lets this connection's reads be answered by the leader only.",
    ),
    node("session", -2, READS.and(Flags::FAST), "tercet")
        .subcommands(&["help", "reset", "resume", "token"])
        .docs("0.1.0", "O(N), N groups", "Takes what this connection has written and seen to another one."),
    node("snapshot", -2, READS.and(Flags::FAST), "tercet").subcommands(&["close", "help", "info", "open"]).docs(
        "0.1.0",
        "O(1)",
        "Lets this connection read its keyspace as it is now until it says otherwise.",
    ),
    node("lolwut", -1, Flags::READONLY.and(Flags::FAST), "server").docs(
        "5.0.0",
        "O(1)",
        "Shows the version.",
    ),
];
