//! What COMMAND tells of the commands: clients of clusters find keys and flags by it.

use commands::{Class, Keys, docs, spec};
use wire::frame::{Frame, decode};
use wire::{Protocol, ReplyWriter};

fn told(protocol: Protocol, write: impl FnOnce(&mut ReplyWriter<'_>)) -> Frame {
    let mut buffer = Vec::new();
    write(&mut ReplyWriter::new(&mut buffer, protocol));
    let (frame, length) = decode(&buffer).expect("a well-formed reply").expect("a whole reply");
    assert_eq!(length, buffer.len(), "one reply");
    frame
}

fn items(frame: &Frame) -> &[Frame] {
    frame.as_items().expect("a list")
}

fn texts(frame: &Frame) -> Vec<String> {
    items(frame).iter().map(|item| item.as_text().expect("a text")).collect()
}

fn words(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}

fn keys(line: &str) -> Result<Vec<String>, String> {
    let mut buffer = Vec::new();
    let mut writer = ReplyWriter::new(&mut buffer, Protocol::Resp2);
    docs::write_getkeys(&words(line), &mut writer).map_err(|error| error.text().to_string())?;
    Ok(texts(&decode(&buffer).expect("a well-formed reply").expect("a whole reply").0))
}

#[test]
fn keys_are_found_where_they_stand() {
    for (line, expected) in [
        ("GET a", "a"),
        ("set a b", "a"),
        ("MGET a b c", "a b c"),
        ("MSET a 1 b 2", "a b"),
        ("DEL a b", "a b"),
        ("RENAME a b", "a b"),
        ("BITOP AND d a b", "d a b"),
        ("OBJECT ENCODING a", "a"),
        ("MEMORY USAGE a", "a"),
        ("LCS a b LEN", "a b"),
        ("BLPOP a b 0", "a b"),
        ("LMPOP 2 a b LEFT", "a b"),
        ("BLMPOP 0 2 a b LEFT", "a b"),
        ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "d a b"),
        ("ZINTERCARD 2 a b LIMIT 1", "a b"),
        ("SMOVE a b m", "a b"),
        ("SORT a BY w_* GET STORE LIMIT 0 1 STORE d", "a d"),
        ("SORT a STORE b STORE c", "a c"),
        ("SORT_RO a BY w_*", "a"),
        ("WATCH a b", "a b"),
        ("GEOSEARCHSTORE d a FROMMEMBER m BYRADIUS 1 m", "d a"),
    ] {
        assert_eq!(keys(line).map(|keys| keys.join(" ")), Ok(expected.into()), "{line}");
    }
}

#[test]
fn lines_without_keys_say_why() {
    for (line, error) in [
        ("NOSUCH a", "ERR Invalid command specified"),
        ("GET", "ERR Invalid number of arguments specified for command"),
        ("GET a b", "ERR Invalid number of arguments specified for command"),
        ("PING", "ERR The command has no key arguments"),
        ("OBJECT HELP", "ERR The command has no key arguments"),
        ("LMPOP 0 a LEFT", "ERR Invalid arguments specified for command"),
        ("ZUNIONSTORE d x a", "ERR Invalid arguments specified for command"),
        ("WITH COMMIT majority SET k", "ERR Invalid arguments specified for command"),
        ("WITH RECEIPT DO EXEC", "ERR The command has no key arguments"),
        ("WITH RECEIPT DO WITH RECEIPT DO GET k", "ERR The command has no key arguments"),
    ] {
        assert_eq!(keys(line), Err(error.into()), "{line}");
    }
}

#[test]
fn every_command_with_keys_shows_one() {
    for spec in spec::all().filter(|spec| spec.keys != Keys::None) {
        let count = spec.arity.unsigned_abs().max(4) as usize;
        let count = if spec.arity > 0 { spec.arity as usize } else { count };
        let mut line = vec![spec.name.to_string()];
        line.extend((1..count).map(|at| format!("k{at}")));
        if let Keys::Counted { count_at, .. } = spec.keys {
            line[count_at] = "1".into();
        }
        if spec.keys == Keys::Inner {
            line.splice(1..3, ["receipt", "do", "get"].map(String::from));
        }
        let found = keys(&line.join(" "));
        assert!(found.as_ref().is_ok_and(|keys| keys.iter().all(|key| key.starts_with('k'))), "{line:?}");
    }
}

#[test]
fn an_entry_has_the_ten_elements_of_redis_7() {
    let get = told(Protocol::Resp2, |w| docs::write_infos(&[b"GeT"], w));
    let [get] = items(&get) else { panic!("one entry") };
    let [name, arity, flags, first, last, step, categories, tips, key_specs, subcommands] = items(get) else {
        panic!("ten elements: {get:?}")
    };
    assert_eq!(name.as_text().as_deref(), Some("get"));
    assert_eq!([arity, first, last, step].map(Frame::as_integer), [Some(2), Some(1), Some(1), Some(1)]);
    assert_eq!(texts(flags), ["readonly", "fast"]);
    assert_eq!(texts(categories), ["@read", "@string", "@fast"]);
    assert_eq!((items(tips).len(), items(key_specs).len(), items(subcommands).len()), (0, 1, 0));

    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let all = told(protocol, docs::write_all);
        assert_eq!(items(&all).len(), spec::all().count());
        assert!(items(&all).iter().all(|entry| items(entry).len() == 10));
        assert_eq!(told(protocol, |w| docs::write_infos(&[], w)), all);
    }
}

#[test]
fn a_container_shows_its_subcommands() {
    let object = told(Protocol::Resp2, |w| docs::write_infos(&[b"object", b"nosuch"], w));
    let [object, missing] = items(&object) else { panic!("two entries") };
    assert_eq!(missing, &Frame::Null);
    let places = |entry: &Frame| items(entry)[3..6].iter().map(Frame::as_integer).collect::<Vec<_>>();
    assert_eq!(places(object), [Some(0); 3]);
    let subcommands = items(&items(object)[9]);
    let named = |name: &str| {
        subcommands.iter().find(|entry| items(entry)[0].as_text().as_deref() == Some(name)).expect("an entry")
    };
    assert_eq!(places(named("object|encoding")), [Some(2), Some(2), Some(1)]);
    assert_eq!(places(named("object|help")), [Some(0); 3]);
    assert!(subcommands.iter().all(|entry| items(entry).len() == 10));
}

#[test]
fn moved_keys_are_flagged() {
    for name in ["sort", "sort_ro", "zunionstore", "lmpop", "bzmpop"] {
        let told = told(Protocol::Resp2, |w| docs::write_infos(&[name.as_bytes()], w));
        assert!(texts(&items(&items(&told)[0])[2]).contains(&"movablekeys".into()), "{name}");
    }
}

#[test]
fn lists_can_be_filtered() {
    let list = |filter: &[&[u8]]| {
        let mut outcome = Ok(());
        let frame = told(Protocol::Resp2, |w| {
            outcome = docs::write_list(filter, w);
            if outcome.is_err() {
                w.ok();
            }
        });
        outcome.map(|()| texts(&frame))
    };
    assert_eq!(list(&[]).unwrap().len(), spec::all().count());
    assert_eq!(list(&[b"filterby", b"pattern", b"GETE*"]).unwrap(), ["getex"]);
    let hashes = list(&[b"FILTERBY", b"ACLCAT", b"hash"]).unwrap();
    assert!(hashes.contains(&"hset".into()) && !hashes.contains(&"get".into()));
    assert_eq!(list(&[b"FILTERBY", b"MODULE", b"json"]).unwrap(), [""; 0]);
    for wrong in [&[&b"FILTERBY"[..]][..], &[b"FILTERBY", b"PATTERN"], &[b"BY", b"PATTERN", b"x"]] {
        assert!(list(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn docs_tell_of_every_command() {
    let Frame::Map(docs) = told(Protocol::Resp3, |w| docs::write_docs(&[], w)) else { panic!("a map") };
    assert_eq!(docs.len(), spec::all().count());
    let some = told(Protocol::Resp3, |w| docs::write_docs(&[b"GET", b"nosuch"], w));
    let Frame::Map(some) = some else { panic!("a map") };
    let [(name, Frame::Map(about))] = &some[..] else { panic!("one entry") };
    assert_eq!(name.as_text().as_deref(), Some("get"));
    let topics: Vec<_> = about.iter().filter_map(|(topic, _)| topic.as_text()).collect();
    assert_eq!(topics, ["summary", "since", "group", "complexity"]);
}

#[test]
fn commands_that_read_are_not_marked_as_writing() {
    use commands::Flags;
    for spec in spec::all() {
        match spec.class {
            Class::Read => assert!(spec.flags.has(Flags::READONLY) && !spec.flags.has(Flags::WRITE)),
            Class::Write | Class::Blocking => {
                assert!(spec.flags.has(Flags::WRITE) && !spec.flags.has(Flags::READONLY))
            }
            Class::Node => {}
        }
    }
}

#[test]
fn errors_repeat_what_was_asked_but_not_all_of_it() {
    let unknown = |line: &str| spec::unknown_command(&words(line));
    assert_eq!(unknown("foo a b"), "ERR unknown command 'foo', with args beginning with: 'a' 'b' ");
    assert_eq!(unknown("foo"), "ERR unknown command 'foo', with args beginning with: ");
    let long = "x".repeat(1000);
    assert!(unknown(&format!("{long} {long} {long}")).len() < 400);
    assert!(spec::unknown_subcommand("object", long.as_bytes()).len() < 200);
}
