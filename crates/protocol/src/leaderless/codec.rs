//! Messages as bytes: a number for each kind, then its fields. What is read is believed no more than any other message.

use super::message::{Lives, Message, Why};
use super::names::Leaf;
use alloc::boxed::Box;
use alloc::vec::Vec;
use data::causal::{
    Ballot, Causal, Context, Entry, FAN_OUT, KeyState, Object, Outcome, Proposal, Range, Span, Summaries,
    Summary, Unfit, Wish, read_context, read_delta, write_context, write_delta,
};
use data::codec::{DecodeError, Reader, Writer};
use data::value::Blob;
use data::{Incarnation, NodeId, RequestId};

fn write_lives(w: &mut Writer<'_>, lives: &Lives) {
    w.list(lives, |w, (node, incarnation)| {
        node.encode(w);
        incarnation.encode(w);
    });
}

fn read_lives(r: &mut Reader<'_>) -> Result<Lives, DecodeError> {
    r.list(|r| Ok((NodeId::decode(r)?, Incarnation::decode(r)?)))
}

fn write_sums(w: &mut Writer<'_>, sums: &Summaries) {
    sums.iter().for_each(|sum| sum.encode(w));
}

fn read_sums(r: &mut Reader<'_>) -> Result<Box<Summaries>, DecodeError> {
    let mut sums = Box::new([Summary::default(); FAN_OUT]);
    for sum in sums.iter_mut() {
        *sum = Summary::decode(r)?;
    }
    Ok(sums)
}

fn key(r: &mut Reader<'_>) -> Result<Blob, DecodeError> {
    Ok(r.bytes()?.into())
}

fn delta_alone(r: &mut Reader<'_>) -> Result<Box<Causal<Object>>, DecodeError> {
    let (_, delta) = read_delta(r)?;
    Ok(Box::new(delta))
}

impl Why {
    fn encode(self, w: &mut Writer<'_>) {
        match self {
            Why::NotReplica => w.u8(1),
            Why::Rebuilding => w.u8(2),
            Why::Clock => w.u8(3),
            Why::HintsFull => w.u8(4),
            Why::Declined => w.u8(5),
            Why::Forgotten => w.u8(6),
            Why::Unfit(unfit) => {
                w.u8(7);
                unfit.encode(w);
            }
            Why::Outbid => w.u8(8),
            Why::Plain => w.u8(9),
        }
    }
    fn decode(r: &mut Reader<'_>) -> Result<Why, DecodeError> {
        Ok(match r.u8()? {
            1 => Why::NotReplica,
            2 => Why::Rebuilding,
            3 => Why::Clock,
            4 => Why::HintsFull,
            5 => Why::Declined,
            6 => Why::Forgotten,
            7 => Why::Unfit(Unfit::decode(r)?),
            8 => Why::Outbid,
            9 => Why::Plain,
            _ => return Err(DecodeError::Invalid("why nothing was done")),
        })
    }
}

impl Message {
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Message::Mint { request, life, key, wish, seen } => {
                w.u8(1);
                request.encode(w);
                life.encode(w);
                w.bytes(key);
                wish.encode(w);
                w.option(seen.as_ref(), |w, seen| seen.encode(w));
            }
            Message::Minted { request, delta, outcome, lives } => {
                w.u8(2);
                request.encode(w);
                write_delta(w, &[], delta);
                outcome.encode(w);
                write_lives(w, lives);
            }
            Message::Apply { request, key, delta, stands_for } => {
                w.u8(3);
                request.encode(w);
                write_delta(w, key, delta);
                w.option(*stands_for, |w, (node, ring)| {
                    node.encode(w);
                    w.u64(ring);
                });
            }
            Message::Applied { request, stands_for, lives } => {
                w.u8(4);
                request.encode(w);
                w.option(*stands_for, |w, node| node.encode(w));
                write_lives(w, lives);
            }
            Message::Read { request, key } => {
                w.u8(5);
                request.encode(w);
                w.bytes(key);
            }
            Message::State { request, state, stand_in } => {
                w.u8(6);
                request.encode(w);
                state.encode(w);
                w.bool(*stand_in);
            }
            Message::Repair { request, key, together } => {
                w.u8(7);
                request.encode(w);
                w.bytes(key);
                together.encode(w);
            }
            Message::Repaired { request, lives } => {
                w.u8(8);
                request.encode(w);
                write_lives(w, lives);
            }
            Message::Refused { request, why } => {
                w.u8(9);
                request.encode(w);
                why.encode(w);
            }
            Message::Handoff { hint, key, delta } => {
                w.u8(10);
                w.u64(*hint);
                write_delta(w, key, delta);
            }
            Message::HandedOff { hint } => {
                w.u8(11);
                w.u64(*hint);
            }
            Message::Missed => w.u8(12),
            Message::MissedNoted => w.u8(13),
            Message::WalkBegin { .. }
            | Message::WalkBegun { .. }
            | Message::WalkAsk { .. }
            | Message::WalkSums { .. }
            | Message::WalkSpan { .. }
            | Message::WalkBack { .. } => self.encode_walk(w),
            Message::Names { request, first, through, count_max } => {
                w.u8(20);
                request.encode(w);
                [first, through, count_max].into_iter().for_each(|number| w.u32(*number));
            }
            Message::Named { request, last, leaves } => {
                w.u8(21);
                request.encode(w);
                w.u32(*last);
                w.list(leaves, |w, leaf| leaf.encode(w));
            }
            Message::Count { request, range, now_ms } => {
                w.u8(22);
                request.encode(w);
                range.encode(w);
                w.u64(*now_ms as u64);
            }
            Message::Counted { request, sums, shown } => {
                w.u8(23);
                request.encode(w);
                write_sums(w, sums);
                w.list(shown, |w, shown| w.option(*shown, |w, count| w.u64(count)));
            }
            Message::Spread { dots, copies } => {
                w.u8(24);
                write_context(w, dots);
                w.u32(*copies);
            }
            Message::Prepare { request, key, ballot } => {
                w.u8(25);
                request.encode(w);
                w.bytes(key);
                ballot.encode(w);
            }
            Message::Promised { request, ballot, promised, accepted, is_plain, lives } => {
                w.u8(26);
                request.encode(w);
                ballot.encode(w);
                promised.encode(w);
                accepted.encode(w);
                w.bool(*is_plain);
                write_lives(w, lives);
            }
            Message::Accept { request, key, proposal } => {
                w.u8(27);
                request.encode(w);
                w.bytes(key);
                proposal.encode(w);
            }
            Message::Accepted { request, ballot, lives } => {
                w.u8(28);
                request.encode(w);
                ballot.encode(w);
                write_lives(w, lives);
            }
            Message::Outbid { request, ballot, promised } => {
                w.u8(29);
                request.encode(w);
                ballot.encode(w);
                promised.encode(w);
            }
        }
    }

    fn encode_walk(&self, w: &mut Writer<'_>) {
        match self {
            Message::WalkBegin { walk, context } => {
                w.u8(14);
                w.u64(*walk);
                write_context(w, context);
            }
            Message::WalkBegun { walk, sums, context, is_ready } => {
                w.u8(15);
                w.u64(*walk);
                write_sums(w, sums);
                write_context(w, context);
                w.bool(*is_ready);
            }
            Message::WalkAsk { walk, range } => {
                w.u8(16);
                w.u64(*walk);
                range.encode(w);
            }
            Message::WalkSums { walk, range, sums } => {
                w.u8(17);
                w.u64(*walk);
                range.encode(w);
                write_sums(w, sums);
            }
            Message::WalkSpan { walk, span, entries, context } => {
                w.u8(18);
                write_part(w, (*walk, *span, entries, context));
            }
            Message::WalkBack { walk, span, entries, context } => {
                w.u8(19);
                write_part(w, (*walk, *span, entries, context));
            }
            _ => {}
        }
    }

    /// Reads all of the input.
    ///
    /// # Errors
    /// When it is not what [`Message::encode`] writes.
    pub fn decode(r: &mut Reader<'_>) -> Result<Message, DecodeError> {
        let kind = r.u8()?;
        Ok(match kind {
            1 => Message::Mint {
                request: RequestId::decode(r)?,
                life: Incarnation::decode(r)?,
                key: key(r)?,
                wish: Box::new(Wish::decode(r)?),
                seen: r.option(KeyState::decode)?.map(Box::new),
            },
            2 => Message::Minted {
                request: RequestId::decode(r)?,
                delta: delta_alone(r)?,
                outcome: Outcome::decode(r)?,
                lives: read_lives(r)?,
            },
            3 => {
                let request = RequestId::decode(r)?;
                let (key, delta) = read_delta(r)?;
                let stands_for = r.option(|r| Ok((NodeId::decode(r)?, r.u64()?)))?;
                Message::Apply { request, key, delta: Box::new(delta), stands_for }
            }
            4 => Message::Applied {
                request: RequestId::decode(r)?,
                stands_for: r.option(NodeId::decode)?,
                lives: read_lives(r)?,
            },
            5 => Message::Read { request: RequestId::decode(r)?, key: key(r)? },
            6 => Message::State {
                request: RequestId::decode(r)?,
                state: Box::new(KeyState::decode(r)?),
                stand_in: r.bool()?,
            },
            7 => Message::Repair {
                request: RequestId::decode(r)?,
                key: key(r)?,
                together: Box::new(KeyState::decode(r)?),
            },
            8 => Message::Repaired { request: RequestId::decode(r)?, lives: read_lives(r)? },
            9 => Message::Refused { request: RequestId::decode(r)?, why: Why::decode(r)? },
            10 => {
                let hint = r.u64()?;
                let (key, delta) = read_delta(r)?;
                Message::Handoff { hint, key, delta: Box::new(delta) }
            }
            11 => Message::HandedOff { hint: r.u64()? },
            12 => Message::Missed,
            13 => Message::MissedNoted,
            14 => Message::WalkBegin { walk: r.u64()?, context: read_context(r)? },
            15 => Message::WalkBegun {
                walk: r.u64()?,
                sums: read_sums(r)?,
                context: read_context(r)?,
                is_ready: r.bool()?,
            },
            16 => Message::WalkAsk { walk: r.u64()?, range: Range::decode(r)? },
            17 => Message::WalkSums { walk: r.u64()?, range: Range::decode(r)?, sums: read_sums(r)? },
            18 => {
                let (walk, span, entries, context) = read_part(r)?;
                Message::WalkSpan { walk, span, entries, context }
            }
            19 => {
                let (walk, span, entries, context) = read_part(r)?;
                Message::WalkBack { walk, span, entries, context }
            }
            20 => Message::Names {
                request: RequestId::decode(r)?,
                first: r.u32()?,
                through: r.u32()?,
                count_max: r.u32()?,
            },
            21 => Message::Named {
                request: RequestId::decode(r)?,
                last: r.u32()?,
                leaves: r.list(Leaf::decode)?,
            },
            22 => Message::Count {
                request: RequestId::decode(r)?,
                range: Range::decode(r)?,
                now_ms: r.u64()? as i64,
            },
            23 => Message::Counted {
                request: RequestId::decode(r)?,
                sums: read_sums(r)?,
                shown: r.list(|r| r.option(Reader::u64))?,
            },
            24 => Message::Spread { dots: read_context(r)?, copies: r.u32()? },
            25 => {
                Message::Prepare { request: RequestId::decode(r)?, key: key(r)?, ballot: Ballot::decode(r)? }
            }
            26 => Message::Promised {
                request: RequestId::decode(r)?,
                ballot: Ballot::decode(r)?,
                promised: Ballot::decode(r)?,
                accepted: Box::new(Proposal::decode(r)?),
                is_plain: r.bool()?,
                lives: read_lives(r)?,
            },
            27 => Message::Accept {
                request: RequestId::decode(r)?,
                key: key(r)?,
                proposal: Box::new(Proposal::decode(r)?),
            },
            28 => Message::Accepted {
                request: RequestId::decode(r)?,
                ballot: Ballot::decode(r)?,
                lives: read_lives(r)?,
            },
            29 => Message::Outbid {
                request: RequestId::decode(r)?,
                ballot: Ballot::decode(r)?,
                promised: Ballot::decode(r)?,
            },
            _ => return Err(DecodeError::Invalid("message of a leaderless shard")),
        })
    }

    /// Whether it is for the coordinator of its request, not for a copy.
    pub fn is_answer(&self) -> bool {
        match self {
            Message::Minted { .. }
            | Message::Applied { .. }
            | Message::State { .. }
            | Message::Repaired { .. }
            | Message::Named { .. }
            | Message::Counted { .. }
            | Message::Promised { .. }
            | Message::Accepted { .. }
            | Message::Outbid { .. }
            | Message::Refused { .. } => true,
            Message::Mint { .. }
            | Message::Prepare { .. }
            | Message::Accept { .. }
            | Message::Apply { .. }
            | Message::Read { .. }
            | Message::Names { .. }
            | Message::Count { .. }
            | Message::Spread { .. }
            | Message::Repair { .. }
            | Message::Handoff { .. }
            | Message::HandedOff { .. }
            | Message::Missed
            | Message::MissedNoted
            | Message::WalkBegin { .. }
            | Message::WalkBegun { .. }
            | Message::WalkAsk { .. }
            | Message::WalkSums { .. }
            | Message::WalkSpan { .. }
            | Message::WalkBack { .. } => false,
        }
    }
    /// Whether a node of the first message version that has leaderless shards could not read it.
    pub fn is_newer(&self) -> bool {
        match self {
            Message::Names { .. }
            | Message::Named { .. }
            | Message::Count { .. }
            | Message::Counted { .. }
            | Message::Spread { .. } => true,
            Message::Mint { wish, .. } => matches!(**wish, Wish::Raise { .. }),
            _ => false,
        }
    }
    /// Whether it is about linearizable keys.
    pub fn is_of_agreement(&self) -> bool {
        matches!(
            self,
            Message::Prepare { .. }
                | Message::Promised { .. }
                | Message::Accept { .. }
                | Message::Accepted { .. }
                | Message::Outbid { .. }
        )
    }
    /// Whether what it leads to must go to the disk: a node whose disk is full lets it pass.
    pub fn writes(&self) -> bool {
        if let Message::Prepare { ballot, .. } = self {
            // Without a ballot it only asks.
            return !ballot.is_none();
        }
        matches!(
            self,
            Message::Mint { .. }
                | Message::Apply { .. }
                | Message::Accept { .. }
                | Message::Repair { .. }
                | Message::Handoff { .. }
                | Message::WalkSpan { .. }
                | Message::WalkBack { .. }
        )
    }
}

type Part<'p> = (u64, Span, &'p [Entry], &'p Context);

fn write_part(w: &mut Writer<'_>, (walk, span, entries, context): Part<'_>) {
    w.u64(walk);
    span.encode(w);
    w.list(entries, |w, entry| entry.encode(w));
    write_context(w, context);
}

fn read_part(r: &mut Reader<'_>) -> Result<(u64, Span, Vec<Entry>, Context), DecodeError> {
    Ok((r.u64()?, Span::decode(r)?, r.list(Entry::decode)?, read_context(r)?))
}
