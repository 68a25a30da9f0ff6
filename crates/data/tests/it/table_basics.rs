//! What each operation does to a key, in small examples.
// catalogue: D6

use data::operation::{Before, End};
use data::table::{Seed, Table};
use data::value::ValueRef;
use data::{Expiry, Operation};

fn table() -> Table {
    Table::new(Seed(1, 2))
}

fn set(key: &str, value: &str, expiry: Expiry) -> Operation<'static> {
    Operation::Set { key: key.as_bytes().to_vec().into(), value: value.as_bytes().to_vec().into(), expiry }
}

fn text<'t>(table: &'t Table, key: &str) -> Option<&'t [u8]> {
    match table.get(key.as_bytes())?.value {
        ValueRef::String(text) => Some(text),
        _ => None,
    }
}

#[test]
fn set_keeps_the_expiry_only_when_told_to() {
    let mut table = table();
    table.apply_committed(&set("k", "a", Expiry::At(50)), 0);
    table.apply_committed(&set("k", "b", Expiry::Keep), 0);
    assert_eq!(table.get(b"k").unwrap().expires_at_ms, Some(50));
    assert_eq!(text(&table, "k"), Some(&b"b"[..]));
    table.apply_committed(&set("k", "c", Expiry::Never), 0);
    assert_eq!(table.get(b"k").unwrap().expires_at_ms, None);
    assert_eq!(table.keys_with_expiry(), 0);
}

#[test]
fn expire_removes_only_what_is_due() {
    let mut table = table();
    table.apply_committed(&set("due", "x", Expiry::At(100)), 0);
    table.apply_committed(&set("later", "x", Expiry::At(101)), 0);
    table.apply_committed(&set("never", "x", Expiry::Never), 0);
    let mut due = Vec::new();
    table.expiring(100, 10, &mut |key, at| due.push((key.to_vec(), at)));
    assert_eq!(due, [(b"due".to_vec(), 100)]);
    for key in ["due", "later", "never"] {
        table.apply_committed(&Operation::Expire { key: key.as_bytes().into(), at_ms: 100 }, 0);
    }
    assert_eq!(text(&table, "due"), None);
    assert_eq!(table.len(), 2);
}

#[test]
fn a_string_write_fills_the_gap_with_zeros() {
    let mut table = table();
    let write = |offset, bytes: &'static [u8]| Operation::StringWrite {
        key: b"k".into(),
        offset,
        bytes: bytes.into(),
    };
    table.apply_committed(&write(2, b"ab"), 0);
    assert_eq!(text(&table, "k"), Some(&b"\0\0ab"[..]));
    let undo = table.apply(&write(3, b"xyz"), 0);
    assert_eq!(text(&table, "k"), Some(&b"\0\0axyz"[..]));
    table.undo(undo);
    assert_eq!(text(&table, "k"), Some(&b"\0\0ab"[..]));
}

#[test]
fn long_strings_are_written_in_place_and_back() {
    let mut table = table();
    table.apply_committed(&set("k", &"x".repeat(10_000), Expiry::Never), 0);
    let before = table.state_hash();
    let far = Operation::StringWrite { key: b"k".into(), offset: 12_000, bytes: b"end".into() };
    let near = Operation::StringWrite { key: b"k".into(), offset: 9_999, bytes: b"yy".into() };
    let undos = [table.apply(&far, 0), table.apply(&near, 0)];
    assert_eq!(text(&table, "k").unwrap().len(), 12_003);
    assert_eq!(&text(&table, "k").unwrap()[9_998..10_002], b"xyy\0");
    for undo in undos.into_iter().rev() {
        table.undo(undo);
    }
    assert_eq!(table.state_hash(), before);
}

#[test]
fn counters_start_at_zero_and_keep_their_expiry() {
    let mut table = table();
    let add = |delta| Operation::CounterAdd { key: b"n".into(), delta };
    table.apply_committed(&add(-5), 0);
    assert_eq!(text(&table, "n"), Some(&b"-5"[..]));
    table.apply_committed(&Operation::ExpireAt { key: b"n".into(), at_ms: Some(9) }, 0);
    table.apply_committed(&add(i64::MAX), 0);
    assert_eq!(text(&table, "n"), Some(&b"9223372036854775802"[..]));
    assert_eq!(table.get(b"n").unwrap().expires_at_ms, Some(9));
}

#[test]
fn a_rename_moves_value_and_expiry_and_comes_back() {
    let mut table = table();
    table.apply_committed(&set("a", "1", Expiry::At(7)), 0);
    table.apply_committed(&set("b", "2", Expiry::Never), 0);
    let before = table.state_hash();
    let undo = table.apply(&Operation::Rename { from: b"a".into(), to: b"b".into() }, 0);
    assert_eq!((text(&table, "a"), text(&table, "b")), (None, Some(&b"1"[..])));
    assert_eq!(table.get(b"b").unwrap().expires_at_ms, Some(7));
    table.undo(undo);
    assert_eq!(table.state_hash(), before);
    let undo = table.apply(&Operation::Rename { from: b"a".into(), to: b"a".into() }, 0);
    assert_eq!(table.state_hash(), before);
    table.undo(undo);
    assert_eq!(table.state_hash(), before);
}

#[test]
fn collections_go_with_their_last_member_and_come_back() {
    let mut table = table();
    let push =
        Operation::ListPush { key: b"l".into(), end: End::Back, elements: vec![b"1".into(), b"2".into()] };
    table.apply_committed(&push, 0);
    let before = table.state_hash();
    let undo = table.apply(&Operation::ListPop { key: b"l".into(), end: End::Front, count: 5 }, 0);
    assert!(table.is_empty());
    table.undo(undo);
    assert_eq!(table.state_hash(), before);
}

#[test]
fn a_flush_is_taken_back_whole() {
    let mut table = table();
    table.apply_committed(&set("a", "1", Expiry::At(7)), 0);
    let before = table.state_hash();
    let undo = table.apply(&Operation::Flush, 0);
    assert!(table.is_empty());
    let later = table.apply(&set("b", "2", Expiry::Never), 0);
    table.undo(later);
    table.undo(undo);
    assert_eq!(table.state_hash(), before);
}

#[test]
fn before_images_name_the_touched_element() {
    let mut table = table();
    let fields = vec![(b"f".into(), b"old".into()), (b"g".into(), b"x".into())];
    table.apply_committed(&Operation::HashSet { key: b"h".into(), fields }, 0);
    let one = |field: &'static [u8]| Operation::HashSet {
        key: b"h".into(),
        fields: vec![(field.into(), b"new".into())],
    };
    assert_eq!(table.before(&one(b"f")), Before::Bytes { bytes: b"old".into(), expires_at_ms: None });
    assert_eq!(table.before(&one(b"z")), Before::Absent);
    let two = Operation::HashRemove { key: b"h".into(), fields: vec![b"f".into(), b"g".into()] };
    assert_eq!(table.before(&two), Before::Summary { kind: 1, len: 2, expires_at_ms: None });
    assert_eq!(table.before(&set("none", "x", Expiry::Never)), Before::Absent);
}
