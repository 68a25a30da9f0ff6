//! CONFIG GET, SET, RESETSTAT: the settings that Redis clients and tools ask for.

use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use crate::statistics::Statistics;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use commands::spec::unknown_subcommand;
use wire::number::parse_integer;

impl Node {
    pub(super) fn config_command(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        let name = args[1].to_ascii_lowercase();
        match (&name[..], &args[2..]) {
            (b"get", patterns) if !patterns.is_empty() => {
                let found: Vec<(&'static str, String)> = self
                    .settings()
                    .into_iter()
                    .filter(|(name, _)| {
                        patterns
                            .iter()
                            .any(|p| commands::glob::matches(&p.to_ascii_lowercase(), name.as_bytes()))
                    })
                    .collect();
                self.reply(connection, |w| {
                    w.map(found.len());
                    for (name, value) in found {
                        w.bulk(name.as_bytes());
                        w.bulk(value.as_bytes());
                    }
                })
            }
            (b"set", pairs) if !pairs.is_empty() && pairs.len() % 2 == 0 => {
                self.config_set(connection, pairs)
            }
            (b"resetstat", []) => {
                self.gather_looks();
                self.statistics = Statistics::default();
                self.reply(connection, |w| w.ok())
            }
            (b"rewrite", []) => self.reply_error(
                connection,
                "ERR settings come from flags, TERCET_* variables and the TOML file: change them there",
            ),
            (b"get" | b"set" | b"resetstat" | b"rewrite", _) => {
                let shown = format!("config|{}", String::from_utf8_lossy(&name));
                self.reply_error(connection, &commands::spec::wrong_arity(&shown))
            }
            _ => self.reply_error(connection, &unknown_subcommand("config", args[1])),
        }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let yes_no = |value: bool| String::from(if value { "yes" } else { "no" });
        vec![
            ("appendonly", yes_no(true)),
            ("appendfsync", String::from("always")),
            ("databases", String::from("16")),
            ("io-threads", String::from("1")),
            ("maxclients", self.config.connections_max.to_string()),
            ("maxmemory", String::from("0")),
            ("maxmemory-policy", String::from("noeviction")),
            ("notify-keyspace-events", String::new()),
            ("proto-max-bulk-len", (512_u64 << 20).to_string()),
            ("requirepass", self.config.password.clone().unwrap_or_default()),
            ("save", String::new()),
            ("slowlog-log-slower-than", String::from("-1")),
            ("timeout", String::from("0")),
            ("cluster-enabled", yes_no(false)),
        ]
    }

    /// Every pair is checked before any is set.
    fn config_set(&mut self, connection: ConnectionId, pairs: &[&[u8]]) -> Flow {
        let mut connections_max = self.config.connections_max;
        let mut password = self.config.password.clone();
        for pair in pairs.chunks_exact(2) {
            let name = String::from_utf8_lossy(pair[0]).to_ascii_lowercase();
            match &name[..] {
                "maxclients" => match parse_integer(pair[1])
                    .and_then(|n| usize::try_from(n).ok())
                    .filter(|n| *n > 0)
                {
                    Some(number) => connections_max = number,
                    None => {
                        return self.refuse_setting(connection, &name, "argument must be a positive number");
                    }
                },
                "requirepass" => match core::str::from_utf8(pair[1]) {
                    Ok(text) => password = (!text.is_empty()).then(|| text.to_string()),
                    Err(_) => return self.refuse_setting(connection, &name, "argument must be text"),
                },
                _ if self.settings().iter().any(|(known, _)| *known == name) => {
                    return self.refuse_setting(connection, &name, "can't set immutable config");
                }
                _ => {
                    let text = format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
                    return self.reply_error(connection, &text);
                }
            }
        }
        self.config.connections_max = connections_max;
        self.config.password = password;
        self.reply(connection, |w| w.ok())
    }

    fn refuse_setting(&mut self, connection: ConnectionId, name: &str, why: &str) -> Flow {
        let text = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}");
        self.reply_error(connection, &text)
    }
}
