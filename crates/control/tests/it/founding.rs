//! Founding needs all founders, each empty.
// bugs: SL-15

use control::{Founded, Founding, FoundingInput, FoundingMessage, FoundingOutput};
use data::Instant;
use data::codec::{Reader, Writer};
use std::collections::BTreeMap;

/// Founders that exchange their messages through the wire's encoding.
struct Table {
    seats: BTreeMap<String, Founding>,
    found: BTreeMap<String, Founded>,
    joining: Vec<String>,
    now: u64,
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("{}:7000", ["a", "b", "c"][at])).collect()
}

impl Table {
    fn new(present: &[(&str, u64)]) -> Table {
        let mut table = Table { seats: BTreeMap::new(), found: BTreeMap::new(), joining: Vec::new(), now: 0 };
        for (name, nonce) in present {
            table.sit(name, *nonce);
        }
        table
    }
    fn sit(&mut self, name: &str, nonce: u64) {
        let address = format!("{name}:7000");
        self.seats.insert(address.clone(), Founding::new(address, nonce, names(3)));
    }
    fn rounds(&mut self, count: u64) {
        for _ in 0..count {
            self.now += 100;
            for address in self.seats.keys().cloned().collect::<Vec<_>>() {
                self.step(&address, FoundingInput::Tick);
            }
        }
    }
    fn step(&mut self, address: &str, input: FoundingInput) {
        let Some(seat) = self.seats.get_mut(address) else { return };
        let mut out = Vec::new();
        seat.step(Instant::from_millis(self.now), input, &mut out);
        for output in out {
            match output {
                FoundingOutput::Send { to, message } => {
                    let mut bytes = Vec::new();
                    message.encode(&mut Writer::new(&mut bytes));
                    let Ok(FoundingMessage::Hello(hello)) = FoundingMessage::decode(&mut Reader::new(&bytes))
                    else {
                        panic!("a hello");
                    };
                    self.step(&to, FoundingInput::Hello(hello));
                }
                FoundingOutput::Found { founded, node } => {
                    assert_eq!(founded.node_of(address), Some(node));
                    self.found.insert(address.to_string(), founded);
                }
                FoundingOutput::JoinInstead => self.joining.push(address.to_string()),
            }
        }
    }
}

#[test]
fn three_empty_founders_found_one_cluster_with_numbers_by_address() {
    let mut table = Table::new(&[("c", 3), ("a", 1), ("b", 2)]);
    table.rounds(4);
    let clusters: Vec<u64> = table.found.values().map(Founded::cluster).collect();
    assert_eq!(clusters.len(), 3);
    assert!(clusters.iter().all(|cluster| *cluster == clusters[0]));
    assert_eq!(table.found["b:7000"].node_of("c:7000"), Some(data::NodeId(3)));
}

#[test]
fn nobody_founds_before_the_last_founder_has_come() {
    let mut table = Table::new(&[("a", 1), ("b", 2)]);
    table.rounds(50);
    assert!(table.found.is_empty());
    table.sit("c", 3);
    table.rounds(4);
    assert_eq!(table.found.len(), 3);
}

#[test]
fn a_founder_that_comes_back_with_its_nonce_founds_the_same() {
    let mut table = Table::new(&[("a", 1), ("b", 2), ("c", 3)]);
    table.rounds(4);
    // It crashed after the others had founded and before it wrote that down itself.
    table.found.remove("c:7000");
    table.sit("c", 3);
    table.rounds(2);
    assert_eq!(table.found["c:7000"], table.found["a:7000"]);
}

#[test]
fn a_founder_whose_disk_was_wiped_joins_instead() {
    let mut table = Table::new(&[("a", 1), ("b", 2), ("c", 3)]);
    table.rounds(4);
    table.found.remove("c:7000");
    table.sit("c", 33);
    table.rounds(4);
    assert_eq!(table.joining, ["c:7000"]);
    assert!(!table.found.contains_key("c:7000"));
}

#[test]
fn a_founder_that_meets_a_member_of_another_cluster_never_founds() {
    let mut table = Table::new(&[("a", 1), ("b", 2)]);
    table.seats.insert("c:7000".into(), Founding::member("c:7000".into(), 3, 99, None));
    table.rounds(4);
    assert!(table.found.is_empty());
    assert_eq!(table.joining.len(), 2);
}

#[test]
fn a_founder_wiped_before_anybody_founded_is_taken_with_its_new_nonce() {
    let mut table = Table::new(&[("a", 1), ("c", 3)]);
    table.rounds(3);
    table.sit("c", 33);
    table.sit("b", 2);
    table.rounds(6);
    assert_eq!(table.found.len(), 3);
    assert!(table.found["a:7000"].contains("c:7000", 33));
}
