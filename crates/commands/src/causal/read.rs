//! Commands that read: the plain command, over plain values made of the causal ones.

use super::{Plan, Setting, keys_once, versions};
use crate::call::{Call, CommandError, Ops, Random, View};
use crate::docs::reads_by_pattern;
use crate::spec::Spec;
use crate::walk::Walk;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use data::causal::{Object, Part};
use data::table::Found;
use data::value::Value;
use wire::ReplyWriter;

/// What a plain read does with a key of several versions.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum OnSiblings {
    /// Shows the highest; the receipt counts them.
    #[default]
    Show,
    /// Is refused.
    Error,
}

/// What a receipt says of what was read.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Seen {
    /// Versions of the key that has the most of them; 0 when no key holds a string.
    pub versions: usize,
    /// Keys that hold values of several types.
    pub mixed: usize,
}

pub(super) fn plan<'a>(spec: &Spec, args: &[&'a [u8]]) -> Result<Plan<'a>, CommandError> {
    if reads_by_pattern(spec, args) {
        return Err(CommandError::new(format!(
            "ERR '{}' with BY or GET reads keys that nobody named: not available in this keyspace",
            spec.name
        )));
    }
    if spec.name == "sort" && crate::generic::destination(args.get(2..).unwrap_or_default()).is_some() {
        return Err(super::exclusive("sort ... store", "use SORT_RO and RPUSH"));
    }
    keys_once(spec, args).map(Plan::Read)
}

/// Writes the reply of a command that was planned as a read. `found` has each key of the plan once, with what the replicas
/// that were asked know of it together, or nothing.
///
/// # Errors
/// A line to be answered instead; the caller takes back what was written.
pub fn answer(
    spec: &Spec,
    args: &[&[u8]],
    setting: &Setting,
    on_siblings: OnSiblings,
    found: &[(&[u8], Option<&Object>)],
    random: &mut Random,
    mut reply: ReplyWriter<'_>,
) -> Result<Seen, CommandError> {
    let seen = seen(found, setting.now_ms);
    if shows_versions(spec) {
        versions::getv(args, setting, found, &mut reply)?;
        return Ok(seen);
    }
    if on_siblings == OnSiblings::Error && seen.versions > 1 {
        return Err(CommandError::new(format!(
            "CONFLICT a key has {} versions, and ON-SIBLINGS is error: GETV shows them, SETV with its context resolves them",
            seen.versions
        )));
    }
    let Some(run) = spec.run else {
        return Err(CommandError::new(crate::spec::unknown_command(args)));
    };
    // A collection's members have no lasting places here, so a scan shows all of it in one step.
    let mut whole: Vec<&[u8]>;
    let mut args = args;
    let options = args.get(3..).unwrap_or_default();
    // Of options that are wrong the command itself speaks.
    if super::table::shows_in_steps(spec.name) && Walk::parse(0, options, spec.name == "hscan").is_ok() {
        whole = args.to_vec();
        whole.extend([&b"COUNT"[..], b"9223372036854775807"]);
        args = &whole;
    }
    let view = ValuesView::new(found, setting.now_ms);
    let mut ops = Ops::new();
    run(&mut Call { args, view: &view, now_ms: setting.now_ms, random, reply, ops: &mut ops })?;
    debug_assert!(ops.is_empty(), "{} was planned as a read", spec.name);
    Ok(seen)
}

/// Whether it shows all versions of a key, and not what they come to.
pub fn shows_versions(spec: &Spec) -> bool {
    spec.name == "getv"
}

/// What of its keys is in conflict.
pub fn seen(found: &[(&[u8], Option<&Object>)], now_ms: i64) -> Seen {
    let mut seen = Seen::default();
    for object in found.iter().filter_map(|(_, object)| *object) {
        let Some(part) = object.shown_at(now_ms) else { continue };
        if let Part::Text(text) = part {
            seen.versions = seen.versions.max(text.versions_count());
        }
        seen.mixed += usize::from(object.hidden().next().is_some());
    }
    seen
}

/// A few keys, as plain values, as a keyspace that holds nothing else.
struct ValuesView<'k> {
    values: BTreeMap<&'k [u8], (Value, Option<i64>)>,
}

impl<'k> ValuesView<'k> {
    fn new(found: &[(&'k [u8], Option<&Object>)], now_ms: i64) -> ValuesView<'k> {
        let values = found.iter().filter_map(|(key, object)| {
            let object = (*object)?;
            Some((*key, (object.plain(now_ms)?, object.deadlines().at_ms())))
        });
        ValuesView { values: values.collect() }
    }
    fn all(&self) -> impl Iterator<Item = (&[u8], Found<'_>)> {
        self.values.iter().map(|(key, (value, expires_at_ms))| {
            (*key, Found { value: value.as_ref(), expires_at_ms: *expires_at_ms })
        })
    }
}

impl View for ValuesView<'_> {
    fn get(&self, key: &[u8]) -> Option<Found<'_>> {
        let (value, expires_at_ms) = self.values.get(key)?;
        Some(Found { value: value.as_ref(), expires_at_ms: *expires_at_ms })
    }
    fn len(&self) -> usize {
        self.values.len()
    }
    fn scan(&self, _: u64, each: &mut dyn FnMut(&[u8], Found<'_>)) -> u64 {
        self.all().for_each(|(key, found)| each(key, found));
        0
    }
    fn random_key(&self, draw: u64) -> Option<(&[u8], Found<'_>)> {
        self.all().nth((draw as usize).checked_rem(self.len())?)
    }
    fn memory_usage(&self, key: &[u8]) -> Option<usize> {
        let found = self.get(key)?;
        Some(key.len() + found.value.to_bytes().len())
    }
    fn idle_seconds(&self, _: &[u8]) -> Option<u64> {
        None
    }
}

/// A keyspace without keys: a command that does not look at what is there does the same in it as anywhere.
pub(super) struct NothingView;

impl View for NothingView {
    fn get(&self, _: &[u8]) -> Option<Found<'_>> {
        None
    }
    fn len(&self) -> usize {
        0
    }
    fn scan(&self, _: u64, _: &mut dyn FnMut(&[u8], Found<'_>)) -> u64 {
        0
    }
    fn random_key(&self, _: u64) -> Option<(&[u8], Found<'_>)> {
        None
    }
    fn memory_usage(&self, _: &[u8]) -> Option<usize> {
        None
    }
    fn idle_seconds(&self, _: &[u8]) -> Option<u64> {
        None
    }
}
