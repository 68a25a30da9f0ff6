//! Session guarantees across copies: what a session has written and seen of each group, as positions of its log, and the token
//! that carries them to another node.
//!
//! A copy that holds a session's newest position in a group, committed, shows everything that the session wrote or saw there,
//! and nothing older: read-your-writes and monotonic reads. A copy shows what was committed up to one position, so a reader sees
//! no entry without those before it: consistent prefix; across groups, once the reader has taken over the token of whoever wrote
//! the later one.
//!
//! Invariant: a position means its epoch *and* its index. An election may drop entries (where the commit rule allows it) and the
//! next leader uses their indices again, so a position whose epoch had ended before that index is lost: the session hears of it,
//! and never goes on as if it had seen less (bugs: SL-05).
//!
//! Source: Terry and others, "Session Guarantees for Weakly Consistent Replicated Data" (1994), with one position per group in the
//! place of their version vectors: a group has one log. KIP-320 for the epoch.
// catalogue: G2 G3 G4

use crate::multi_leader::SiteToken;
use crate::single_leader::LogWindow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use data::codec::{DecodeError, Reader, Writer};
use data::keyspace::CommitRule;
use data::plant::{self, Bug};
use data::view::View;
use data::{Epoch, GroupId, Index, Position};

/// Positions that one session keeps, and one token carries. A guess: more than groups that a cluster has.
pub const PLACES_MAX: usize = 4096;
/// Format of a token's content that names positions alone, and of one that names what sites must hold too.
const FORMAT: u8 = 1;
const FORMAT_OF_SITES: u8 = 2;
/// In front of the coded content: what a person or a log filter recognizes a token by.
const PREFIX: &[u8] = b"ts1_";
/// A coded token is never longer: [`PLACES_MAX`] places, and half a megabyte of what sites must hold.
pub const TOKEN_BYTES_MAX: usize = 4 + (PLACES_MAX * 30 + SITE_BYTES_MAX + 32) * 4 / 3;
const SITE_BYTES_MAX: usize = 512 << 10;

/// The newest position of one epoch of one group that a session wrote or saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    group: GroupId,
    position: Position,
}

impl Seen {
    fn key(&self) -> (GroupId, Epoch) {
        (self.group, self.position.epoch)
    }
}

/// What a session asks of whoever answers its next read of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    Anything,
    /// A copy that holds this.
    Position(Position),
    /// The leader: where the newest thing stands that the session saw is not known.
    Leader,
}

/// Why a text is no token of this cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenError {
    /// It is no token, or not as it was given out.
    Damaged,
    /// Made by a newer version.
    Version(u8),
    OtherCluster,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::Damaged => f.write_str("this is no session token, or not as it was given out"),
            TokenError::Version(version) => {
                write!(f, "the token has format {version}, which this version cannot read")
            }
            TokenError::OtherCluster => f.write_str("the token is of another cluster"),
        }
    }
}
impl core::error::Error for TokenError {}

/// Invariant: sorted by group and epoch, each once, at most [`PLACES_MAX`]. A group's older epochs stay until it is sure that the
/// newest one's history holds what was seen of them ([`Positions::settle`]): a write that was on its way while its session's
/// history was lost is no way around it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Positions {
    seen: Vec<Seen>,
    /// Groups of which something newer was seen at a place that nobody told: only the leader is surely not behind it.
    unplaced: Vec<GroupId>,
    /// Where the last one stood: nearly always the next one too.
    last: usize,
}

impl Positions {
    /// The session wrote or saw what stands here. On the way of every command. True when it is the first of its epoch beside older
    /// ones: then whoever knows the history shall settle them.
    #[inline]
    pub fn note(&mut self, group: GroupId, position: Position) -> bool {
        match self.seen.get_mut(self.last) {
            Some(seen)
                if seen.group == group
                    && seen.position.epoch == position.epoch
                    && self.unplaced.is_empty() =>
            {
                seen.position.index = seen.position.index.max(position.index);
                false
            }
            _ => self.note_other(Seen { group, position }),
        }
    }
    fn note_other(&mut self, new: Seen) -> bool {
        self.unplaced.retain(|group| *group != new.group);
        self.insert(new);
        self.of(new.group).len() > 1
    }
    /// What the session saw elsewhere stands here too. What it saw of this group at a place that nobody told may stand behind it.
    pub fn follow(&mut self, group: GroupId, position: Position) {
        self.insert(Seen { group, position });
    }
    fn insert(&mut self, new: Seen) {
        match self.seen.binary_search_by_key(&new.key(), Seen::key) {
            Ok(at) => {
                let index = &mut self.seen[at].position.index;
                *index = new.position.index.max(*index);
                self.last = at;
            }
            Err(at) if self.seen.len() < PLACES_MAX => {
                self.seen.insert(at, new);
                self.last = at;
            }
            Err(_) => debug_assert!(false, "more groups than any cluster has"),
        }
    }
    /// The session saw something of the group, and was not told where it stands.
    pub fn note_unplaced(&mut self, group: GroupId) {
        if !self.unplaced.contains(&group) {
            self.unplaced.push(group);
        }
    }
    fn of(&self, group: GroupId) -> &[Seen] {
        let begin = self.seen.partition_point(|seen| seen.group < group);
        let end = self.seen.partition_point(|seen| seen.group <= group);
        &self.seen[begin..end]
    }
    pub fn wanted(&self, group: GroupId) -> Wanted {
        match self.of(group).last() {
            _ if self.unplaced.contains(&group) => Wanted::Leader,
            Some(Seen { position, .. }) if position.index > Index(0) => Wanted::Position(*position),
            _ => Wanted::Anything,
        }
    }
    /// What the session saw of the group's earlier epochs, as long as nobody has said whether the newest one's history holds it.
    pub fn unsettled(&self, group: GroupId) -> impl Iterator<Item = Position> {
        let older = self.of(group).split_last().map_or(&[][..], |(_, older)| older);
        older.iter().map(|seen| seen.position)
    }
    /// The newest epoch of which the session saw something: an older leader has been followed by another.
    pub fn newest_epoch(&self, group: GroupId) -> Epoch {
        self.of(group).last().map_or(Epoch(0), |seen| seen.position.epoch)
    }
    /// The oldest epoch of which the session saw something that is not settled.
    pub fn oldest_epoch(&self, group: GroupId) -> Option<Epoch> {
        self.of(group).first().map(|seen| seen.position.epoch)
    }
    /// What the session saw of the view's group and an election dropped.
    pub fn lost(&self, view: &View) -> Option<Position> {
        self.of(view.group).iter().map(|seen| seen.position).find(|position| is_lost(view, *position))
    }
    /// Lets go of what the newest epoch's history holds.
    pub fn settle(&mut self, view: &View) {
        let newest = self.of(view.group).last().map(|seen| seen.position.epoch);
        let Some(newest) = newest.filter(|epoch| *epoch <= view.epoch) else { return };
        let held = |seen: &Seen| seen.group == view.group && seen.position.epoch < newest;
        self.seen.retain(|seen| !held(seen) || is_lost(view, seen.position));
        self.last = 0;
    }
    /// Groups of which something was seen.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.seen.iter().map(|seen| seen.group).chain(self.unplaced.iter().copied())
    }
    /// Groups and positions, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (GroupId, Position)> {
        self.seen.iter().map(|seen| (seen.group, seen.position))
    }
    /// A group of which the session saw something at a place that nobody told.
    pub fn unplaced(&self) -> Option<GroupId> {
        self.unplaced.first().copied()
    }
    /// Keeps what `keeps` names: groups that are gone for ever need no place.
    pub fn retain(&mut self, keeps: impl Fn(GroupId) -> bool) {
        self.seen.retain(|seen| keeps(seen.group));
        self.unplaced.retain(|group| keeps(*group));
        self.last = 0;
    }
    /// What another session saw was seen by this one too.
    pub fn join(&mut self, other: &Positions) {
        let unplaced = core::mem::take(&mut self.unplaced);
        for seen in &other.seen {
            self.note_other(*seen);
        }
        self.unplaced = unplaced;
    }
    pub fn clear(&mut self) {
        *self = Positions::default();
    }

    /// As a text of letters, digits, `-` and `_` that only this cluster understands; nothing where it would be too long.
    pub fn token(&self, cluster: u64, sites: &SiteToken) -> Option<String> {
        let mut bytes = Vec::new();
        let mut w = Writer::new(&mut bytes);
        w.u8(if sites.is_empty() { FORMAT } else { FORMAT_OF_SITES });
        w.u64(cluster);
        w.length(self.seen.len());
        for seen in &self.seen {
            w.length(seen.group.0 as usize);
            w.u64(seen.position.epoch.0);
            w.u64(seen.position.index.0);
        }
        if !sites.is_empty() {
            sites.encode(&mut w);
        }
        let sum = checksum(&bytes);
        Writer::new(&mut bytes).u32(sum);
        let mut text = String::from_utf8_lossy(PREFIX).into_owned();
        encode_text(&bytes, &mut text);
        (text.len() <= TOKEN_BYTES_MAX).then_some(text)
    }

    /// The positions that a token of this cluster carries, and what sites must hold.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_token(token: &[u8], cluster: u64) -> Result<(Positions, SiteToken), TokenError> {
        let coded = token.strip_prefix(PREFIX).filter(|_| token.len() <= TOKEN_BYTES_MAX);
        let bytes = coded.and_then(decode_text).ok_or(TokenError::Damaged)?;
        let (content, sum) = bytes.split_last_chunk::<4>().ok_or(TokenError::Damaged)?;
        if checksum(content) != u32::from_le_bytes(*sum) {
            return Err(TokenError::Damaged);
        }
        let r = &mut Reader::new(content);
        let has_sites = match r.u8() {
            Ok(FORMAT) => false,
            Ok(FORMAT_OF_SITES) => true,
            Ok(version) => return Err(TokenError::Version(version)),
            Err(_) => return Err(TokenError::Damaged),
        };
        let seen = read(r, cluster, has_sites).map_err(|_| TokenError::Damaged)?;
        seen.ok_or(TokenError::OtherCluster)
    }
}

/// Behind the format number; nothing when it is of another cluster.
fn read(
    r: &mut Reader<'_>,
    cluster: u64,
    has_sites: bool,
) -> Result<Option<(Positions, SiteToken)>, DecodeError> {
    if r.u64()? != cluster {
        return Ok(None);
    }
    let mut positions = Positions::default();
    let seen = r.list(|r| {
        let group = u32::try_from(r.length()?).map_err(|_| DecodeError::Invalid("group"))?;
        let position = Position { epoch: Epoch(r.u64()?), index: Index(r.u64()?) };
        Ok(Seen { group: GroupId(group), position })
    })?;
    let sites = if has_sites { SiteToken::decode(r)? } else { SiteToken::default() };
    r.end()?;
    let ascends = seen.is_sorted_by(|a, b| a.key() < b.key());
    if !ascends || seen.len() > PLACES_MAX {
        return Err(DecodeError::Invalid("positions"));
    }
    positions.seen = seen;
    Ok(Some((positions, sites)))
}

/// Whether an election dropped what the session saw at the position. Under `best-effort` one that announced a loss may have dropped
/// anything that is older: the view does not tell what the new leader went on without.
pub fn is_lost(view: &View, position: Position) -> bool {
    let old = position.epoch < view.last_loss && position.index > Index(0);
    (view.has_lost(position) || (view.rule == CommitRule::BestEffort && old))
        && !plant::is(Bug::IgnoresTokenEpoch)
}

/// Whether a copy that has committed and applied its log through `applied` holds what stands at the position.
pub fn has_reached(log: &LogWindow, applied: Index, position: Position) -> bool {
    let far_enough = applied >= position.index;
    far_enough && (log.epoch_at(position.index) == Some(position.epoch) || plant::is(Bug::IgnoresTokenEpoch))
}

/// FNV-1a: notices what happens to a text on its way through URLs, logs and people; whoever wants to can forge a token, and
/// wins nothing by it but a stale or a late read.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum: u32, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// RFC 4648, section 5, without padding.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn encode_text(bytes: &[u8], text: &mut String) {
    for chunk in bytes.chunks(3) {
        let mut bits = [0; 3];
        bits[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from(bits[0]) << 16 | u32::from(bits[1]) << 8 | u32::from(bits[2]);
        for at in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * at)) as usize & 63]));
        }
    }
}

fn decode_text(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        Some(u32::from(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        }))
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.chunks(4) {
        let mut bits = 0;
        for byte in chunk {
            bits = bits << 6 | digit(*byte)?;
        }
        bits <<= 6 * (4 - chunk.len());
        // One digit alone carries no byte, and bits behind the last byte would be a second text for one token.
        let whole = chunk.len() - 1;
        if whole == 0 || bits & ((1 << (24 - 8 * whole)) - 1) != 0 {
            return None;
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..=whole]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::single_leader::Mark;
    use alloc::vec;
    use data::keyspace::Settings;
    use data::{KeyspaceId, ViewNumber, WriteStamp};

    fn positions(known: &[(u32, u64, u64)]) -> Positions {
        let mut positions = Positions::default();
        for (group, epoch, index) in known {
            positions.note(GroupId(*group), Position::new(*epoch, *index));
        }
        positions
    }

    fn sites() -> SiteToken {
        let (mut sites, vector) = (SiteToken::default(), [WriteStamp::new(3, 2, 900)]);
        assert!(sites.note((KeyspaceId(5), 1), &vector.into_iter().collect()));
        sites
    }

    #[test]
    fn a_token_comes_back_as_it_was_and_only_to_its_cluster() {
        for known in
            [&[][..], &[(1, 2, 3)], &[(7, 1, 9), (7, 2, 12), (2, 5, u64::MAX), (900, 3, 1), (1, 0, 0)]]
        {
            let known = positions(known);
            for sites in [SiteToken::default(), sites()] {
                let token = known.token(99, &sites).expect("short");
                assert!(
                    token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
                    "{token}"
                );
                let (read, held) = Positions::from_token(token.as_bytes(), 99).expect("its own");
                assert!(read.iter().eq(known.iter()) && held == sites);
                assert_eq!(Positions::from_token(token.as_bytes(), 98), Err(TokenError::OtherCluster));
            }
        }
    }

    #[test]
    fn a_damaged_token_is_refused_whatever_the_damage() {
        let token = positions(&[(1, 2, 3), (4, 5, 6)]).token(99, &sites()).expect("short").into_bytes();
        for at in 0..token.len() {
            assert!(Positions::from_token(&token[..at], 99).is_err(), "cut at {at}");
            for byte in 0..=255 {
                let mut damaged = token.clone();
                damaged[at] = byte;
                let same = damaged == token;
                assert_eq!(Positions::from_token(&damaged, 99).is_ok(), same, "{byte} at {at}");
            }
        }
        assert!(Positions::from_token(&vec![b'A'; 1 << 20], 99).is_err());
    }

    #[test]
    fn a_token_of_a_newer_format_says_so() {
        let mut bytes = vec![9, 1, 2];
        let sum = checksum(&bytes);
        Writer::new(&mut bytes).u32(sum);
        let mut token = String::from("ts1_");
        encode_text(&bytes, &mut token);
        assert_eq!(Positions::from_token(token.as_bytes(), 1), Err(TokenError::Version(9)));
    }

    fn view(epoch: u64, history: &[(u64, u64)]) -> View {
        View {
            group: GroupId(1),
            keyspace: KeyspaceId(0),
            number: ViewNumber(1),
            epoch: Epoch(epoch),
            leader: None,
            members: vec![],
            read_replicas: vec![],
            electable: vec![],
            election: None,
            forced: None,
            history: history.iter().map(|(epoch, index)| Position::new(*epoch, *index)).collect(),
            last_loss: Epoch(0),
            rule: Default::default(),
            settings: Settings::default(),
        }
    }

    #[test]
    fn a_session_keeps_the_newest_of_each_group() {
        let mut session = positions(&[(1, 1, 9), (1, 1, 7), (2, 1, 3), (1, 2, 8)]);
        assert_eq!(session.wanted(GroupId(1)), Wanted::Position(Position::new(2, 8)));
        assert_eq!(session.wanted(GroupId(3)), Wanted::Anything);
        session.note_unplaced(GroupId(1));
        assert_eq!((session.wanted(GroupId(1)), session.unplaced()), (Wanted::Leader, Some(GroupId(1))));
        session.join(&positions(&[(1, 2, 4), (2, 1, 4), (5, 1, 1)]));
        assert_eq!(session.unplaced(), Some(GroupId(1)), "another session's place is not this one's");
        session.note(GroupId(1), Position::new(2, 10));
        session.settle(&view(2, &[(1, 1), (2, 10)]));
        let all: Vec<_> = session.iter().map(|(group, position)| (group.0, position)).collect();
        assert_eq!(all, [(1, Position::new(2, 10)), (2, Position::new(1, 4)), (5, Position::new(1, 1))]);
    }

    /// A write was on its way when an election dropped what its session had seen. Its answer, of the new epoch, took the place of
    /// the lost position, and the session went back without a word.
    // bugs: SL-05
    #[test]
    fn a_newer_write_does_not_hide_that_something_older_was_lost() {
        let mut session = positions(&[(1, 7, 36)]);
        assert!(session.note(GroupId(1), Position::new(8, 28)), "an older epoch is to be settled");
        let token = session.token(9, &SiteToken::default()).expect("short");
        for mut session in [session, Positions::from_token(token.as_bytes(), 9).expect("its own").0] {
            assert_eq!(session.lost(&view(7, &[(1, 1), (7, 20)])), None, "this view is too old to say");
            let new = view(8, &[(1, 1), (7, 20), (8, 25)]);
            session.settle(&new);
            assert_eq!(session.lost(&new), Some(Position::new(7, 36)));
        }
        let mut session = positions(&[(1, 7, 24)]);
        session.note(GroupId(1), Position::new(8, 28));
        let new = view(8, &[(1, 1), (7, 20), (8, 25)]);
        session.settle(&new);
        assert_eq!((session.lost(&new), session.iter().count()), (None, 1));
    }

    // bugs: SL-05
    #[test]
    fn a_position_is_lost_when_a_later_epoch_began_at_or_before_it() {
        let view = view(5, &[(1, 1), (3, 10), (5, 20)]);
        let lost = |epoch, index| is_lost(&view, Position::new(epoch, index));
        assert!(!lost(1, 1) && !lost(1, 9) && !lost(3, 10) && !lost(3, 19) && !lost(5, 20) && !lost(5, 900));
        assert!(lost(1, 10) && lost(3, 20) && lost(2, 10) && lost(2, 5) && lost(4, 20));
        assert!(!lost(6, 15), "the view is older than the position");
        assert!(!lost(0, 0), "nothing was seen");

        let log = |starts: &[Position], last: Position| {
            LogWindow::new(Mark { position: last, hash: 0 }, starts.to_vec(), 0)
        };
        let copy = log(&view.history, Position::new(5, 25));
        assert!(has_reached(&copy, Index(25), Position::new(3, 15)));
        assert!(!has_reached(&copy, Index(25), Position::new(1, 15)), "another entry stands there");
        assert!(!has_reached(&copy, Index(14), Position::new(3, 15)), "not applied yet");
        let old = log(&[Position::new(1, 1)], Position::new(1, 30));
        assert!(
            !has_reached(&old, Index(30), Position::new(3, 15)),
            "this copy is on the branch that was lost"
        );
    }
}
