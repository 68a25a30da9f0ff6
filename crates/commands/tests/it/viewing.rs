// bugs: SL-24
//! What a view shows of a table: keys whose time has come are gone for every reader, before anybody removes them.

use commands::View;
use commands::table_view::TableView;
use data::table::{Seed, Table};
use data::{Expiry, Operation};

/// Keys that stay, and keys that expire at 1000 ms.
fn table(stay: usize, expire: usize) -> Table {
    let mut table = Table::new(Seed(3, 4));
    let keys = (0..stay).map(|at| (format!("stays{at}"), Expiry::Never));
    let keys = keys.chain((0..expire).map(|at| (format!("goes{at}"), Expiry::At(1000))));
    for (key, expiry) in keys {
        let (key, value) = (key.into_bytes().into(), b"v"[..].into());
        table.apply_committed(&Operation::Set { key, value, expiry }, 0);
    }
    table
}

fn walked(view: &TableView<'_>) -> Vec<Vec<u8>> {
    let (mut keys, mut cursor) = (Vec::new(), 0);
    loop {
        cursor = view.scan(cursor, &mut |key, _| keys.push(key.to_vec()));
        if cursor == 0 {
            return keys;
        }
    }
}

#[test]
fn an_expired_key_is_absent_everywhere() {
    let table = table(3, 20);
    let before = TableView { table: &table, now_ms: 999 };
    assert!(before.get(b"goes1").is_some());
    assert_eq!(walked(&before).len(), 23);

    let after = TableView { table: &table, now_ms: 1000 };
    assert!(after.get(b"goes1").is_none() && after.get(b"stays1").is_some());
    assert!(after.memory_usage(b"goes1").is_none() && after.memory_usage(b"stays1").is_some());
    let mut keys = walked(&after);
    keys.sort();
    assert_eq!(keys, [b"stays0", b"stays1", b"stays2"]);
    assert!((0..100).filter_map(|draw| after.random_key(draw)).all(|(key, _)| key.starts_with(b"stays")));
    assert!((0..100).any(|draw| after.random_key(draw << 56).is_some()));
}

#[test]
fn nothing_is_chosen_where_everything_has_expired() {
    let table = table(0, 20);
    assert!(TableView { table: &table, now_ms: 1000 }.random_key(7).is_none());
}

#[test]
fn idle_time_counts_from_the_last_use() {
    let table = table(1, 0);
    let view = TableView { table: &table, now_ms: 90_500 };
    assert_eq!(view.idle_seconds(b"stays0"), Some(90));
    assert_eq!(view.idle_seconds(b"none"), None);
    table.touch(b"stays0", 60);
    assert_eq!(view.idle_seconds(b"stays0"), Some(30));
}
