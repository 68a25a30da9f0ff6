//! What a request says beside its command: what its reply waits for, and its client's own id.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use data::codec::{DecodeError, Reader, Writer};
use data::table::Table;
use data::{Process, RequestId};
use protocol::single_leader::Asked;
use wire::Protocol;

/// A client's name is at most so long.
const CLIENT_LEN_MAX: usize = 64;

/// What the command under way was given with it, or its connection before it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Options {
    pub asked: Option<Asked>,
    pub client: Option<ClientRequest>,
    /// In leaderless keyspaces. It does not travel: whoever is asked coordinates.
    pub(crate) levels: crate::leaderless::levels::Levels,
}

/// A client's own id of a write: sent again under it, over whatever connection and node, the write happens once.
// bugs: SL-25
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientRequest {
    /// Printable, without ':' at its end only by convention: the last one divides it from the sequence.
    client: Box<[u8]>,
    sequence: u64,
}

impl ClientRequest {
    /// Reads `client:sequence`.
    pub fn parse(text: &[u8]) -> Option<ClientRequest> {
        let colon = text.iter().rposition(|byte| *byte == b':')?;
        let (client, sequence) = (&text[..colon], &text[colon + 1..]);
        let named = !client.is_empty() && client.len() <= CLIENT_LEN_MAX;
        let digits = !sequence.is_empty() && sequence.iter().all(u8::is_ascii_digit);
        if !named || !digits || !client.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
            return None;
        }
        let sequence = core::str::from_utf8(sequence).ok()?.parse().ok()?;
        Some(ClientRequest { client: client.into(), sequence })
    }
    /// As it is kept in the log and in the table of answers of one keyspace. The keyspace's secret seed is in it: nobody finds
    /// two names that are the same there.
    pub fn id(&self, table: &Table) -> RequestId {
        let process = Process(table.hash(&self.client));
        RequestId { origin: RequestId::BY_CLIENT, process, sequence: self.sequence }
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.bytes(&self.client);
        w.u64(self.sequence);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<ClientRequest, DecodeError> {
        Ok(ClientRequest { client: r.bytes()?.into(), sequence: r.u64()? })
    }
}

impl core::fmt::Display for ClientRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}:{}", String::from_utf8_lossy(&self.client), self.sequence)
    }
}

impl Options {
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.option(self.asked.as_ref(), |w, asked| asked.encode(w));
        w.option(self.client.as_ref(), |w, client| client.encode(w));
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Options, DecodeError> {
        let (asked, client) = (r.option(Asked::decode)?, r.option(ClientRequest::decode)?);
        Ok(Options { asked, client, ..Options::default() })
    }
    /// What the connection said before, where this request says nothing.
    #[must_use]
    pub fn over(mut self, defaults: Option<&Options>) -> Options {
        let before = defaults.and_then(|defaults| defaults.asked.as_ref());
        self.asked = match (self.asked, before) {
            (Some(said), Some(before)) => Some(Asked {
                who: if said.who == Default::default() { before.who.clone() } else { said.who },
                level: said.level.or(before.level),
                timeout_ms: said.timeout_ms.or(before.timeout_ms),
            }),
            (said, before) => said.or_else(|| before.cloned()),
        };
        self.levels = self.levels.over(defaults.map(|defaults| defaults.levels).unwrap_or_default());
        self
    }
}

/// A number for a command, arguments and all: of two under one id it tells whether they are the same.
pub fn fingerprint<'a>(table: &Table, words: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut bytes = Vec::new();
    let mut w = Writer::new(&mut bytes);
    words.for_each(|word| w.bytes(word));
    table.hash(&bytes)
}

/// An answer as the table keeps it for a client's own id: which command it answered, in which protocol.
pub fn sealed(command: u64, protocol: Protocol, reply: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(reply.len() + 9);
    let mut w = Writer::new(&mut bytes);
    w.bool(protocol == Protocol::Resp3);
    w.u64(command);
    bytes.extend_from_slice(reply);
    bytes
}

/// The command and the reply, if that reads the same in `protocol`.
pub fn unsealed(bytes: &[u8], protocol: Protocol) -> Option<(u64, Option<&[u8]>)> {
    let mut r = Reader::new(bytes);
    let written = if r.bool().ok()? { Protocol::Resp3 } else { Protocol::Resp2 };
    let command = r.u64().ok()?;
    let reply = bytes.get(bytes.len() - r.remaining()..)?;
    // These begin replies that both protocols have.
    let alike = matches!(reply.first(), Some(b'+' | b'-' | b':'))
        || reply.starts_with(b"$") && reply.get(1) != Some(&b'-');
    Some((command, (written == protocol || alike).then_some(reply)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::table::Seed;

    #[test]
    fn ids_are_a_name_and_a_number() {
        let read = |text: &str| ClientRequest::parse(text.as_bytes()).map(|id| alloc::format!("{id}"));
        for text in ["a:0", "app-1:18446744073709551615", "a:b:7", "::1"] {
            assert_eq!(read(text).as_deref(), Some(text));
        }
        let long = "x".repeat(65) + ":1";
        for text in ["", "a", ":1", "a:", "a:-1", "a:+1", "a:1x", "a b:1", "a:18446744073709551616", &long] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn options_travel_and_give_way_to_nearer_ones() {
        use protocol::single_leader::Who;
        let asked = Asked { who: Who::Nobody, level: None, timeout_ms: Some(3) };
        let client = ClientRequest::parse(b"c:4");
        let options = Options { asked: Some(asked), client, ..Options::default() };
        let mut bytes = Vec::new();
        options.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Options::decode(&mut Reader::new(&bytes)), Ok(options.clone()));
        let level = Some(data::keyspace::Level::Applied);
        let said = Options { asked: Some(Asked { level, ..Asked::default() }), ..Options::default() };
        let both = said.over(Some(&options));
        let expected = Asked { who: Who::Nobody, level, timeout_ms: Some(3) };
        let expected = Options { asked: Some(expected), ..Options::default() };
        assert_eq!(both, expected, "an id belongs to one request");
    }

    #[test]
    fn an_answer_is_given_again_where_it_reads_the_same() {
        let table = Table::new(Seed(1, 2));
        let words = |line: &'static str| line.split(' ').map(str::as_bytes);
        let command = fingerprint(&table, words("INCR k"));
        assert_ne!(command, fingerprint(&table, words("INC Rk")));
        for (reply, alike) in
            [(&b":7\r\n"[..], true), (b"$1\r\nx\r\n", true), (b"$-1\r\n", false), (b"*0\r\n", false)]
        {
            let kept = sealed(command, Protocol::Resp2, reply);
            assert_eq!(unsealed(&kept, Protocol::Resp2), Some((command, Some(reply))));
            assert_eq!(unsealed(&kept, Protocol::Resp3), Some((command, alike.then_some(reply))));
        }
        assert_eq!(unsealed(b"x", Protocol::Resp2), None);
    }
}
