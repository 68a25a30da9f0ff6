//! What entries of a log do, in words: for the ledger, and for consumers of a log.

use crate::payload::{Changes, Image, Payload, Step};
use alloc::string::ToString;
use alloc::vec::Vec;
use data::operation::{Before, End, Expiry, Operation};
use data::value::ValueRef;
use wire::ReplyWriter;

/// What an entry's payload holds: an array of maps, each with the words of an operation or a command, and what it found before,
/// where the log's format tells that.
pub fn write_operations(payload: &[u8], w: &mut ReplyWriter<'_>) {
    let Ok(Payload { changes, .. }) = Payload::parse(payload) else { return w.array(0) };
    match changes {
        Changes::Rows(rows) => {
            let rows = rows.all().unwrap_or_default();
            w.array(rows.len());
            for (operation, before) in &rows {
                write_words(&words_of(operation), w);
                write_before(before, w);
            }
        }
        Changes::Statement(statement) => {
            let steps = statement.all().unwrap_or_default();
            w.array(steps.len());
            for step in &steps {
                match step {
                    Step::Operation(operation) => write_words(&words_of(operation), w),
                    Step::Command(args) => {
                        let words: Vec<Vec<u8>> = args.iter().map(|word| word.to_vec()).collect();
                        write_words(&words, w);
                    }
                }
                w.null();
            }
        }
        Changes::Images(images) => {
            let (flushed, images) = (images.flushed, images.all().unwrap_or_default());
            w.array(images.len() + usize::from(flushed));
            if flushed {
                write_words(&words_of(&Operation::Flush), w);
                w.null();
            }
            for image in &images {
                write_words(&words_of(&image.operation()), w);
                write_digest(image, w);
            }
        }
    }
}

/// The beginning of a map of two: what stands behind it is what was found before.
fn write_words(words: &[Vec<u8>], w: &mut ReplyWriter<'_>) {
    w.map(2);
    w.bulk(b"operation");
    w.array(words.len());
    words.iter().for_each(|word| w.bulk(word));
    w.bulk(b"before");
}

fn write_digest(image: &Image<'_>, w: &mut ReplyWriter<'_>) {
    match image.before {
        0 => w.null(),
        digest => w.bulk(alloc::format!("a value of digest {digest:016x}").as_bytes()),
    }
}

fn write_before(before: &Before<'_>, w: &mut ReplyWriter<'_>) {
    match before {
        Before::Absent => w.null(),
        Before::Bytes { bytes, .. } => w.bulk(bytes),
        Before::Summary { kind, len, .. } => {
            let name = ["string", "hash", "list", "set", "zset"].get(usize::from(*kind)).unwrap_or(&"value");
            w.bulk(alloc::format!("a {name} of {len}").as_bytes());
        }
    }
}

fn expiry_words(expiry: Expiry, words: &mut Vec<Vec<u8>>) {
    match expiry {
        Expiry::Keep => words.push(b"KEEPTTL".to_vec()),
        Expiry::Never => {}
        Expiry::At(at_ms) => words.extend([b"PXAT".to_vec(), number(at_ms)]),
    }
}
/// A whole value: what follows the key in the command that makes it.
fn value_words(value: ValueRef<'_>, words: &mut Vec<Vec<u8>>) {
    match value {
        ValueRef::String(text) => words.push(text.to_vec()),
        ValueRef::Hash(hash) => {
            words.extend(hash.iter().flat_map(|(field, value)| [field.to_vec(), value.to_vec()]));
        }
        ValueRef::List(list) => words.extend(list.iter().map(<[u8]>::to_vec)),
        ValueRef::Set(set) => words.extend(set.iter().map(<[u8]>::to_vec)),
        ValueRef::ZSet(zset) => {
            words.extend(zset.iter().flat_map(|(member, score)| [number(score), member.to_vec()]));
        }
    }
}
fn number(value: impl ToString) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// An operation in the words of the command that is nearest to it.
fn words_of(operation: &Operation<'_>) -> Vec<Vec<u8>> {
    use Operation as O;
    let mut words: Vec<Vec<u8>> = Vec::new();
    let (name, rest): (&str, Vec<Vec<u8>>) = match operation {
        O::Set { value, expiry, .. } => {
            let mut rest = Vec::from([value.to_vec()]);
            expiry_words(*expiry, &mut rest);
            ("SET", rest)
        }
        O::Put { value, expiry, .. } => {
            let mut rest = Vec::new();
            expiry_words(*expiry, &mut rest);
            rest.push(value.as_ref().kind().name().as_bytes().to_vec());
            value_words(value.as_ref(), &mut rest);
            ("PUT", rest)
        }
        O::Delete { .. } => ("DEL", Vec::new()),
        O::Expire { at_ms, .. } => ("EXPIRED", Vec::from([number(at_ms)])),
        O::ExpireAt { at_ms: Some(at_ms), .. } => ("PEXPIREAT", Vec::from([number(at_ms)])),
        O::ExpireAt { at_ms: None, .. } => ("PERSIST", Vec::new()),
        O::StringWrite { offset, bytes, .. } => ("SETRANGE", Vec::from([number(offset), bytes.to_vec()])),
        O::CounterAdd { delta, .. } => ("INCRBY", Vec::from([number(delta)])),
        O::HashSet { fields, .. } => {
            let pairs = fields.iter().flat_map(|(field, value)| [field.to_vec(), value.to_vec()]);
            ("HSET", pairs.collect())
        }
        O::HashRemove { fields, .. } => ("HDEL", fields.iter().map(|field| field.to_vec()).collect()),
        O::HashCounterAdd { field, delta, .. } => ("HINCRBY", Vec::from([field.to_vec(), number(delta)])),
        O::ListPush { end, elements, .. } => {
            let name = if *end == End::Front { "LPUSH" } else { "RPUSH" };
            (name, elements.iter().map(|element| element.to_vec()).collect())
        }
        O::ListPop { end, count, .. } => {
            (if *end == End::Front { "LPOP" } else { "RPOP" }, Vec::from([number(count)]))
        }
        O::ListSet { at, element, .. } => ("LSET", Vec::from([number(at), element.to_vec()])),
        O::ListInsert { at, element, .. } => ("LINSERT", Vec::from([number(at), element.to_vec()])),
        O::ListRemove { places, .. } => ("LREM", places.iter().map(number).collect()),
        O::SetAdd { members, .. } => ("SADD", members.iter().map(|member| member.to_vec()).collect()),
        O::SetRemove { members, .. } => ("SREM", members.iter().map(|member| member.to_vec()).collect()),
        O::ZSetAdd { members, .. } => {
            ("ZADD", members.iter().flat_map(|(member, score)| [number(score), member.to_vec()]).collect())
        }
        O::ZSetIncrement { member, by, .. } => ("ZINCRBY", Vec::from([number(by), member.to_vec()])),
        O::ZSetRemove { members, .. } => ("ZREM", members.iter().map(|member| member.to_vec()).collect()),
        O::Rename { .. } => ("RENAME", Vec::new()),
        O::Flush => ("FLUSHDB", Vec::new()),
    };
    words.push(name.as_bytes().to_vec());
    words.extend(operation.keys().map(<[u8]>::to_vec));
    words.extend(rest);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use data::value::Value;

    #[test]
    fn operations_read_like_commands() {
        let shown = |operation: Operation<'_>| {
            let words = words_of(&operation);
            let words: Vec<String> =
                words.iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect();
            words.join(" ")
        };
        let (key, value): (&[u8], &[u8]) = (b"k", b"v");
        let expiry = Expiry::At(77);
        assert_eq!(shown(Operation::Set { key: key.into(), value: value.into(), expiry }), "SET k v PXAT 77");
        assert_eq!(shown(Operation::CounterAdd { key: key.into(), delta: -3 }), "INCRBY k -3");
        let members = Vec::from([(value.into(), 1.5)]);
        assert_eq!(shown(Operation::ZSetAdd { key: key.into(), members }), "ZADD k 1.5 v");
        assert_eq!(shown(Operation::Rename { from: key.into(), to: value.into() }), "RENAME k v");
        assert_eq!(shown(Operation::Flush), "FLUSHDB");
        let value = Value::String(value.into());
        assert_eq!(shown(Operation::Put { key: key.into(), value, expiry }), "PUT k PXAT 77 string v");
    }
}
