//! Clients of the core: accepting, reading, executing, writing.

use super::*;

/// Bytes taken in behind a command that waits (BLPOP), at most about so many.
const PAUSED_INPUT_MAX: usize = 1 << 20;
/// Commands of a pipeline looked at ahead: about as many loads as a processor keeps under way.
const FORESEEN_MAX: usize = 16;

impl Core {
    pub(super) fn accept_clients(&mut self) {
        while let Ok((mut stream, address)) = self.resp.accept() {
            if self.stopping.is_some() {
                continue;
            }
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.generation += 1;
            let id = ConnectionId((self.generation << 32) | place as u64);
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self.parts.poll.registry().register(&mut stream, Token(CLIENTS + place), interest).is_err() {
                self.free.push(place);
                continue;
            }
            let local = stream.local_addr().map(|a| a.to_string()).unwrap_or_default();
            self.connections[place] = Some(Box::new(Connection::new(id, stream)));
            let input = Input::Connected { connection: id, address: address.to_string(), local };
            self.node.step(clock::now(), input);
        }
    }

    pub(super) fn read_client(&mut self, place: usize) {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_deref_mut) else { return };
        if connection.closing {
            return;
        }
        // Behind a command that waits nothing is executed: no more is taken in than a little.
        if connection.input.len() - connection.used > PAUSED_INPUT_MAX && self.node.is_paused(connection.id) {
            connection.more = true;
            return;
        }
        match connection.read() {
            Ok(true) => {
                let more = connection.more;
                self.execute(place);
                if more {
                    self.unread.push(place);
                }
            }
            Ok(false) => {
                self.execute(place);
                self.close_client(place);
            }
            Err(_) => self.close_client(place),
        }
    }

    /// Executes the whole commands in a connection's input.
    pub(super) fn execute(&mut self, place: usize) {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_deref_mut) else { return };
        let id = connection.id;
        if self.node.is_paused(id) {
            return;
        }
        // The clock is read after the socket: a read that is answered under a lease came before it.
        let now = clock::now();
        let mut limits =
            if self.node.is_authenticated(id) { Limits::default() } else { Limits::unauthenticated() };
        let mut foreseen = 1;
        loop {
            let input = &connection.input[connection.used..];
            if foreseen == 0 {
                foreseen = foresee(&mut self.scout, &self.node, id, input, &limits);
            }
            match connection.parser.parse(input, &limits) {
                Ok(Parsed::Command { consumed }) => {
                    let args: SmallVec<[&[u8]; 8]> = connection.parser.arguments(input).collect();
                    let flow = self.node.request(now, id, &args);
                    let was_auth = args.first().is_some_and(|name| name.len() <= 5);
                    drop(args);
                    connection.used += consumed;
                    foreseen = foreseen.saturating_sub(1);
                    if was_auth && !limits.authenticated && self.node.is_authenticated(id) {
                        limits = Limits::default();
                    }
                    if flow == Flow::Pause {
                        return;
                    }
                }
                Ok(Parsed::Skip { consumed }) => connection.used += consumed,
                Ok(Parsed::Incomplete { .. }) => break,
                Err(error) => {
                    if !matches!(error, wire::ProtocolError::Http) {
                        self.node.protocol_error(id, &error.to_string());
                    }
                    connection.closing = true;
                    connection.used = connection.input.len();
                    self.outputs.push(Output::Close { connection: id });
                    break;
                }
            }
        }
        connection.settle();
    }

    pub(super) fn write_client(&mut self, place: usize) {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_deref_mut) else { return };
        let lost = connection.write().is_err() || connection.pending_output() > OUTPUT_BYTES_MAX;
        if lost || connection.closing && connection.pending_output() == 0 {
            self.close_client(place);
        }
    }

    pub(super) fn close_client(&mut self, place: usize) {
        let Some(mut connection) = self.connections.get_mut(place).and_then(Option::take) else { return };
        let _ = self.parts.poll.registry().deregister(&mut connection.stream);
        self.free.push(place);
        self.node.step(clock::now(), Input::Closed { connection: connection.id });
    }

    pub(super) fn place_of(&self, id: ConnectionId) -> Option<usize> {
        let place = id.0 as u32 as usize;
        self.connections.get(place)?.as_deref().filter(|connection| connection.id == id).map(|_| place)
    }

    pub(super) fn write_clients(&mut self) {
        self.node.take_ready(&mut self.ready);
        for connection in std::mem::take(&mut self.ready) {
            let Some(place) = self.place_of(connection) else { continue };
            if let Some(it) = self.connections[place].as_deref_mut() {
                self.node.take_replies(connection, &mut it.output);
                if it.blocked && it.pending_output() <= OUTPUT_BYTES_MAX {
                    continue;
                }
            }
            self.write_client(place);
        }
    }
}

/// Looks at the next commands of a pipeline and asks the processor for what their first keys will need: the memory of a
/// dozen look-ups then arrives at once, not one after the other. Returns for how many commands, at least one.
fn foresee(
    scout: &mut RequestParser,
    node: &Node,
    connection: ConnectionId,
    input: &[u8],
    limits: &Limits,
) -> usize {
    let Some(table) = node.table_of(connection).filter(|_| !input.is_empty()) else { return FORESEEN_MAX };
    let mut hashes: SmallVec<[u64; FORESEEN_MAX]> = SmallVec::new();
    let mut at = 0;
    while hashes.len() < FORESEEN_MAX && at < input.len() {
        let Ok(Parsed::Command { consumed }) = scout.parse(&input[at..], limits) else {
            // What comes in pieces or is wrong is for the connection's own parser to tell.
            *scout = RequestParser::new();
            break;
        };
        let hash = scout.arguments(&input[at..]).nth(1).map_or(0, |key| table.hash(key));
        table.prefetch(hash);
        hashes.push(hash);
        at += consumed;
    }
    hashes.iter().for_each(|hash| table.prefetch_entry(*hash));
    hashes.len().max(1)
}
