//! What lies on a replica's disk is read back as it was; what is cut or damaged is refused or read as something that a
//! writer could have made, and nothing panics.

use data::causal::{
    Acceptor, Actor, Amount, Ballot, Context, Entry, Held, Kind, Minter, Object, Outcome, Proposal, Range,
    Stamp, Step, Summary, Unfit, Write,
};
use data::codec::{Reader, Writer};
use data::table::Seed;
use data::{GroupId, Incarnation, NodeId, Process, RequestId};
use protocol::leaderless::{Durable, Hint, Leaf, Message, Name, Record};

fn records() -> Vec<Record> {
    let actor = Actor { node: NodeId(1), incarnation: Incarnation(2), shard: GroupId(3) };
    let mut minter = Minter::new(actor, 0);
    let mut write = Write::new(&mut minter, Stamp(77));
    let delta = Object::default().increment(&mut write, 0, Amount::whole(5));
    let request = RequestId { origin: NodeId(1), process: Process(2), sequence: 3 };
    let key: Box<[u8]> = b"key".as_slice().into();
    let hint = Hint { target: NodeId(2), ring: 7, since_ms: 99, key: key.clone(), delta: delta.clone() };
    vec![
        Record::Step(Step::Delta { key: key.clone(), delta: delta.clone() }),
        Record::Step(Step::Take { theirs: Context::new() }),
        Record::Step(Step::Key { entry: agreed(), theirs: Context::new() }),
        Record::Mint { request, key, delta, outcome: Outcome::Total(5) },
        Record::Hint { number: 4, hint },
        Record::HintGone { number: 4 },
        Record::Missed { target: NodeId(2), missed: true },
        Record::Owes { peers: [NodeId(2), NodeId(5)].into() },
        Record::Ready,
        Record::Declined { request, unfit: None },
        Record::Declined { request, unfit: Some(Unfit::WrongType) },
        Record::Life { peer: NodeId(2), incarnation: Incarnation(9) },
        Record::Ring { ring: 8 },
        Record::GivenBack { last: 70 },
    ]
}

fn ballot(counter: u64) -> Ballot {
    Ballot { counter, node: NodeId(3), process: Process(4) }
}

fn proposal() -> Proposal {
    Proposal::default().followed(ballot(7), Some(b"image".as_slice().into()), Some(-1))
}

/// What a copy writes down of a linearizable key.
fn agreed() -> Entry {
    let acceptor = Acceptor { promised: ballot(9), accepted: Box::new(proposal()) };
    let held = Held { object: Object::from(acceptor), recent: Context::new() };
    Entry { key: b"key".as_slice().into(), held }
}

#[test]
fn records_survive_the_round_trip_and_damage_is_harmless() {
    for record in records() {
        let mut bytes = Vec::new();
        record.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Record::decode(&bytes), Ok(record.clone()));
        for at in 0..bytes.len() {
            assert!(Record::decode(&bytes[..at]).is_err(), "{record:?} cut at {at}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                if let Ok(record) = Record::decode(&damaged) {
                    Durable::new(Seed(1, 2), true).apply(&record);
                }
            }
        }
        bytes.push(0);
        assert!(Record::decode(&bytes).is_err(), "{record:?} and a byte more");
    }
}

/// What is asked and told about which keys there are.
#[test]
fn messages_about_names_survive_the_round_trip() {
    let request = RequestId { origin: NodeId(1), process: Process(2), sequence: 3 };
    let name = |expires_at_ms| Name { key: b"key".as_slice().into(), kind: Kind::Set, expires_at_ms };
    let summary = Summary { entries: 2, sum: 99 };
    let leaf = Leaf { leaf: 7, summary, names: vec![name(None), name(Some(-1))] };
    let mut sums = Box::new([Summary::default(); 16]);
    sums[3] = summary;
    let range = Range::leaf(65_535).expect("a leaf");
    for message in [
        Message::Names { request, first: 1, through: 65_535, count_max: 10 },
        Message::Named { request, last: 9, leaves: vec![leaf] },
        Message::Count { request, range, now_ms: -5 },
        Message::Counted { request, sums, shown: vec![None, Some(4)] },
    ] {
        let mut bytes = Vec::new();
        message.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Message::decode(&mut Reader::new(&bytes)), Ok(message.clone()));
        for at in 0..bytes.len() {
            assert!(Message::decode(&mut Reader::new(&bytes[..at])).is_err(), "{message:?} cut at {at}");
        }
        assert!(message.is_newer() && !message.writes());
    }
}

/// What proposers and acceptors say.
#[test]
fn messages_about_linearizable_keys_survive_the_round_trip() {
    let request = RequestId { origin: NodeId(1), process: Process(2), sequence: 3 };
    let key = || b"key".as_slice().into();
    let lives = || vec![(NodeId(2), Incarnation(3))];
    let (accepted, lower, higher) = (Box::new(proposal()), ballot(8), ballot(9));
    for (message, is_answer) in [
        (Message::Prepare { request, key: key(), ballot: lower }, false),
        (
            Message::Promised {
                request,
                ballot: lower,
                promised: higher,
                accepted: accepted.clone(),
                is_plain: true,
                lives: lives(),
            },
            true,
        ),
        (Message::Accept { request, key: key(), proposal: accepted }, false),
        (Message::Accepted { request, ballot: lower, lives: lives() }, true),
        (Message::Outbid { request, ballot: lower, promised: higher }, true),
    ] {
        let mut bytes = Vec::new();
        message.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Message::decode(&mut Reader::new(&bytes)), Ok(message.clone()));
        for at in 0..bytes.len() {
            assert!(Message::decode(&mut Reader::new(&bytes[..at])).is_err(), "{message:?} cut at {at}");
        }
        assert_eq!((message.is_of_agreement(), message.is_answer()), (true, is_answer));
    }
}
