//! `tercet ctl`: looks at a cluster and changes it, through any node.

use crate::connect::Client;
use crate::tryout::{self, Request};
use clap::{Args, Subcommand};
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use serde_json::Value;
use server::StartError;

#[derive(Args)]
pub struct Ctl {
    /// RESP address of any node.
    #[arg(long, env = "TERCET_CONNECT", default_value = "127.0.0.1:6379")]
    connect: String,
    #[arg(long, env = "TERCET_REQUIREPASS")]
    password: Option<String>,
    /// JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Nodes, groups and replicas.
    Status,
    /// Keyspaces and where they are served.
    Keyspaces,
    /// Moves a group's leadership without loss.
    Switchover { group: String, node: String },
    /// Makes a node lead a group although the other copies are gone: what only they hold is lost.
    Promote {
        group: String,
        node: String,
        /// The other copies are gone for good, and what only they hold may be lost.
        #[arg(long)]
        accept_loss: bool,
    },
    /// Lets a node leave: its copies move elsewhere first.
    Remove { node: String },
    #[command(flatten)]
    Tryout(Request),
}

impl Ctl {
    pub fn run(self) -> Result<(), StartError> {
        let client = || -> Result<Client, StartError> {
            let mut client = Client::connect(&self.connect)?;
            if let Some(password) = &self.password {
                client.call(&["AUTH", password])?;
            }
            Ok(client)
        };
        match &self.command {
            Command::Status => {
                let status = client()?.status()?;
                if self.json { show_json(&status) } else { show_status(&status) }
            }
            Command::Keyspaces => {
                let status = client()?.status()?;
                if self.json { show_json(&status["groups"]) } else { show_groups(&status) }
            }
            Command::Switchover { group, node } => {
                client()?.call(&["KEYSPACE", "SWITCHOVER", group, node])?;
                self.done(&format!("group {group} is led by {node} now"));
            }
            Command::Promote { group, node, accept_loss } => {
                let mut words = vec!["KEYSPACE", "PROMOTE", group, node];
                words.extend(accept_loss.then_some("ACCEPT-LOSS"));
                client()?.call(&words)?;
                self.done(&format!("{node} is about to lead group {group}: `tercet ctl status` shows when"));
            }
            Command::Remove { node } => {
                client()?.call(&["KEYSPACE", "REMOVE-NODE", node])?;
                self.done(&format!("{node} is leaving: `tercet ctl status` shows when it is gone"));
            }
            // The process of `up` is asked, not a node: nodes that are down or paused would not answer.
            Command::Tryout(request) => self.done(&tryout::ask(&self.connect, request)?),
        }
        Ok(())
    }

    fn done(&self, text: &str) {
        if self.json { println!("{{\"ok\":true}}") } else { println!("{text}") }
    }
}

fn show_json(value: &Value) {
    println!("{value:#}");
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn table(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(titles.iter().copied());
    table
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn show_status(status: &Value) {
    let mut nodes = table(&["node", "name", "RESP", "peer", "site", "alive", "control"]);
    for node in items(&status["nodes"]) {
        let row = ["id", "name", "resp", "peer", "site", "alive", "control"].map(|field| text(&node[field]));
        nodes.add_row(row);
    }
    println!("{nodes}");
    show_groups(status);
}

fn show_groups(status: &Value) {
    let mut groups =
        table(&["group", "keyspace", "slots", "rule", "epoch", "leader", "electable", "replicas (lag)"]);
    for group in items(&status["groups"]) {
        let replicas: Vec<String> = items(&group["replicas"])
            .map(|replica| {
                let doubted = replica["doubted"].as_bool() == Some(true);
                let state = if doubted { "IN DOUBT".into() } else { text(&replica["state"]) };
                format!("{} {state} ({})", text(&replica["node"]), text(&replica["lag"]))
            })
            .collect();
        let mut row: Vec<String> = ["group", "keyspace", "commit_rule", "epoch", "leader", "electable"]
            .iter()
            .map(|field| text(&group[*field]))
            .collect();
        row.insert(2, text(&group["slots"]));
        row.push(replicas.join("\n"));
        groups.add_row(row);
    }
    println!("{groups}");
}
