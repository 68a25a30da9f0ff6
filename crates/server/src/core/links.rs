//! Links of the core to other nodes: dialling, accepting, who is up.

use super::*;
use crate::peers::proved;
use node::message::VERSION_MIN;

/// Connections that have not proved who they are, at most: a member's handshake takes a few milliseconds, so the oldest
/// goes first (bugs: X-07).
const UNPROVED_MAX: usize = 64;

impl Core {
    pub(super) fn identity(&self) -> Identity {
        let config = self.node.config();
        Identity {
            cluster: self.parts.membership.cluster,
            node: config.node,
            incarnation: config.incarnation,
            process: config.process,
            name: config.name.clone(),
            level: 1,
            level_max: 1,
            version_min: VERSION_MIN,
            version_max: self.parts.settings.message_version,
            engine_format: config.engine_format,
        }
    }

    pub(super) fn accept_peers(&mut self) {
        while let Ok((mut stream, _)) = self.peer.accept() {
            let place = self.incoming.iter().position(Option::is_none).unwrap_or_else(|| {
                self.incoming.push(None);
                self.incoming.len() - 1
            });
            let token = Token(INCOMING + place);
            if self.parts.poll.registry().register(&mut stream, token, Interest::READABLE).is_err() {
                continue;
            }
            let secret = self.parts.settings.secret.as_bytes();
            let incoming = Incoming::new(stream, self.identity(), secret, clock::entropy());
            self.incoming[place] = Some(Box::new(incoming));
        }
        self.end_unproved();
    }

    /// Strangers must not use up what members need.
    fn end_unproved(&mut self) {
        let mut unproved: Vec<(Instant, usize)> = Vec::new();
        for (place, incoming) in self.incoming.iter_mut().enumerate() {
            match incoming {
                Some(it) if it.is_overdue() => *incoming = None,
                Some(it) if it.agreed.is_none() => unproved.push((it.since, place)),
                _ => {}
            }
        }
        unproved.sort_unstable();
        let beyond = unproved.len().saturating_sub(UNPROVED_MAX);
        for (_, place) in &unproved[..beyond] {
            self.incoming[*place] = None;
        }
    }

    pub(super) fn read_incoming(&mut self, place: usize) {
        let Some(mut incoming) = self.incoming.get_mut(place).and_then(Option::take) else { return };
        let mut received = Vec::new();
        let outcome = incoming.read(&mut |message| received.push(message));
        let now = clock::now();
        let mut agreed_with = None;
        for message in received {
            match message {
                Received::Agreed(node) => agreed_with = Some(node),
                Received::Message { from, incarnation, process, version, message } => {
                    self.node.step(now, Input::Peer { from, incarnation, process, version, message });
                }
                Received::Founding(body) => self.on_founding(&body),
            }
        }
        if let Some(node) = agreed_with {
            // A newer connection of the same peer takes the place of an older one: the peer may have restarted meanwhile.
            let older = |other: &Option<Box<Incoming>>| {
                other.as_ref().is_some_and(|o| o.agreed.as_ref().is_some_and(|a| a.peer.node == node))
            };
            if self.incoming.iter().any(older) {
                self.incoming.iter_mut().filter(|other| older(other)).for_each(|other| *other = None);
                self.lose_outgoing(node);
                self.watch_links();
            }
        }
        match outcome {
            Ok(()) => self.incoming[place] = Some(incoming),
            Err(error) => {
                if incoming.agreed.is_none() && error.kind() == std::io::ErrorKind::InvalidData {
                    eprintln!("{}: a peer was refused: {error}", self.parts.settings.name);
                }
                let _ = self.parts.poll.registry().deregister(&mut incoming.stream);
            }
        }
        self.watch_links();
    }

    pub(super) fn serve_outgoing(&mut self, node: NodeId, readable: bool) {
        let Some(link) = self.outgoing.get_mut(&node) else { return };
        let mut outcome = Ok(false);
        if readable {
            outcome = link.read();
        }
        if outcome.is_ok()
            && let Err(error) = link.write()
        {
            outcome = Err(error);
        }
        if let Err(error) = outcome {
            if error.kind() == std::io::ErrorKind::PermissionDenied {
                eprintln!("{}: {} refused the link: {error}", self.parts.settings.name, link.address);
            }
            self.lose_outgoing(node);
        }
        self.watch_links();
    }

    pub(super) fn lose_outgoing(&mut self, node: NodeId) {
        let Some(link) = self.outgoing.get_mut(&node) else { return };
        if let Some(mut stream) = link.stream.take() {
            let _ = self.parts.poll.registry().deregister(&mut stream);
        }
        link.reset();
    }

    /// A peer is up while both directions stand.
    pub(super) fn watch_links(&mut self) {
        let nodes: Vec<NodeId> = self.outgoing.keys().copied().collect();
        for node in nodes {
            let agreed = self.outgoing.get(&node).and_then(|link| link.agreed.as_ref());
            let (out, version) = (agreed.is_some(), agreed.map_or(0, |agreed| agreed.version));
            let engine_format = agreed.map_or(0, |agreed| agreed.peer.engine_format);
            let into = self
                .incoming
                .iter()
                .flatten()
                .any(|incoming| incoming.agreed.as_ref().is_some_and(|agreed| agreed.peer.node == node));
            let up = out && into;
            if self.up.get(&node).copied().unwrap_or(false) != up {
                self.up.insert(node, up);
                let input = match up {
                    true => Input::PeerUp { node, version, engine_format },
                    false => Input::PeerDown { node },
                };
                self.node.step(clock::now(), input);
                if !up && out {
                    // What was queued for the peer's last process must not reach its next one.
                    self.lose_outgoing(node);
                }
            }
        }
    }

    /// Links follow the map; before the map is known they follow the founders.
    pub(super) fn dial(&mut self) {
        let me = self.node.config().node;
        let mut wanted: BTreeMap<NodeId, String> = BTreeMap::new();
        if let Some(founded) = &self.parts.membership.founded
            && !self.node.map().founded()
        {
            wanted.extend(founded.nodes().map(|(node, address, _)| (node, address.to_string())));
        }
        wanted.extend(self.node.map().nodes.values().map(|node| (node.id, node.addresses.peer.clone())));
        wanted.remove(&me);
        let gone: Vec<NodeId> = self
            .outgoing
            .iter()
            .filter(|(n, link)| wanted.get(n) != Some(&link.address))
            .map(|(n, _)| *n)
            .collect();
        for node in gone {
            self.lose_outgoing(node);
            self.watch_links();
            self.outgoing.remove(&node);
        }
        let identity = self.identity();
        for (node, address) in wanted {
            if self.outgoing.get(&node).is_some_and(Outgoing::is_overdue) {
                self.lose_outgoing(node);
            }
            let way = self.way_to(&address);
            let link = self.outgoing.entry(node).or_insert_with(|| {
                let mut link = Outgoing::new(node, address);
                link.set_way(way);
                link
            });
            if !link.is_due() {
                continue;
            }
            let secret = self.parts.settings.secret.as_bytes();
            if link.dial(identity.clone(), secret, clock::entropy()).is_ok()
                && let Some(stream) = &mut link.stream
            {
                let token = Token(OUTGOING + node.0 as usize);
                let interest = Interest::READABLE | Interest::WRITABLE;
                let _ = self.parts.poll.registry().register(stream, token, interest);
            }
        }
    }

    pub(super) fn on_founding(&mut self, body: &[u8]) {
        let now = clock::now();
        let Some(body) = proved(&self.parts.settings.secret, body) else { return };
        match FoundingMessage::decode(&mut Reader::new(body)) {
            Ok(FoundingMessage::Hello(hello)) => {
                let mut outputs = Vec::new();
                self.founding.step(now.instant, FoundingInput::Hello(hello), &mut outputs);
                for output in outputs {
                    if let FoundingOutput::Send { to, message } = output {
                        send_founding(to, &self.parts.settings.secret, encoded(&message));
                    }
                }
            }
            Ok(FoundingMessage::JoinRequest { name, addresses, site, nonce }) => {
                self.node.step(now, Input::Join { nonce, name, addresses, site });
            }
            Ok(FoundingMessage::JoinAnswer { .. } | FoundingMessage::JoinLater) | Err(_) => {}
        }
    }

    pub(super) fn write_peers(&mut self) {
        let nodes: Vec<NodeId> = self.outgoing.keys().copied().collect();
        let mut lost = false;
        for node in nodes {
            if self.outgoing.get_mut(&node).is_some_and(|link| link.write().is_err()) {
                self.lose_outgoing(node);
                lost = true;
            }
        }
        if lost {
            self.watch_links();
        }
    }
}
