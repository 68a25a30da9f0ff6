//! What clients do: tasks of one or two exchanges, each with a verdict on what it did.

pub mod anything;
pub mod quorum;
pub mod sites;

use crate::history::{Did, Outcome, Place, outcome_of_error};
use crate::random::Random;
use crate::reply::Reply;

pub type Command = Vec<Vec<u8>>;

/// Kinds of work. A client does several of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    Register,
    Counter,
    Set,
    List,
    Bank,
    Expiry,
    Anything,
    /// Reads of one register, from a client that stays with its node: whoever was deposed is asked too.
    Watch,
    /// Writes of that register.
    Heat,
    /// Ids taken from a counter, by INCR alone and in a transaction.
    Ids,
    /// A session over several registers.
    Session,
    /// Reads of them from one node's own copy.
    Stale,
    /// Increments and pushes under the client's own id, sent again, to whatever node, until they are answered.
    Retry,
    /// Writes that ask for another rule than their keyspace's, and reads.
    Asked,
    /// Registers read and written by a session that goes from node to node and reads copies.
    Roam,
    /// Reads of them from copies that may be so old and no older.
    Fresh,
    /// Of one scenario: the next question is asked in one keyspace.
    Ask,
    /// The newest question is answered in another one.
    Answer,
    /// Looks at the answer, then at the question.
    Observe,
    /// Answers, and puts the token beside the answer that says what was read before.
    AnswerSigned,
    /// Takes over the token that it finds beside an answer, then looks at the question.
    ObserveSigned,
    /// In leaderless keyspaces.
    QuorumRegister,
    QuorumCounter,
    QuorumSet,
    QuorumStrict,
    QuorumKeys,
    QuorumAgreed,
    /// In multi-leader keyspaces.
    SiteRegister,
    SiteTicket,
    SiteSwap,
    SiteRoam,
    SiteBank,
    SiteAsk,
    SiteAnswer,
    SiteObserve,
}

impl Kind {
    /// The kinds of the general run, their names, and what clients of them do.
    pub const ALL: [(Kind, &'static str, &'static str); 16] = [
        (Kind::Register, "register", "GET, SET and swaps (WATCH, MULTI, SET, EXEC) of few registers"),
        (Kind::Counter, "counter", "INCR and GET of counters"),
        (Kind::Set, "set", "SADD and SMEMBERS"),
        (Kind::List, "list", "RPUSH and LRANGE"),
        (Kind::Bank, "bank", "transfers in MULTI between accounts, and their sum, in MULTI or in a SNAPSHOT"),
        (Kind::Expiry, "expiry", "SET with PX, and GET around its end"),
        (Kind::Anything, "anything", "every command with arguments that often fit; no reply is judged"),
        (Kind::Watch, "watch", "GET of one hot register, on one node"),
        (Kind::Heat, "heat", "SET of that register"),
        (Kind::Ids, "ids", "ids by INCR, alone and in MULTI"),
        (Kind::Session, "session", "GET and SET of several registers, each with its RECEIPT"),
        (Kind::Stale, "stale", "GET of those registers under READONLY, from the copy of one node"),
        (
            Kind::Retry,
            "retry",
            "INCR and RPUSH under WITH REQUEST, sent again to any node until they are answered",
        ),
        (Kind::Asked, "asked", "SET under WITH COMMIT, LEVEL and ACKS of all kinds, and GET"),
        (
            Kind::Roam,
            "roam",
            "GET and SET from node to node, from copies, each with its SESSION TOKEN for the next",
        ),
        (Kind::Fresh, "fresh", "GET of those registers from copies, with MAX-STALENESS"),
    ];
}

/// In one slot: a transfer is one entry.
pub const ACCOUNTS: u64 = 4;
/// Virtual time after which keys get new names: bounds the history of each.
pub const KEYS_LIVE: u64 = 10_000_000_000;

/// One operation under way.
pub struct Task {
    pub key: String,
    pub did: Did,
    /// The last command of the exchange is RECEIPT; `place` is what it says.
    pub receipt: bool,
    /// The last command is SESSION TOKEN, behind RECEIPT; `token` is what it gave.
    pub asks_token: bool,
    pub token: Option<String>,
    pub place: Place,
    /// It has an id of its client's: these commands may be sent again as often as needed.
    pub again: Option<Vec<Command>>,
    /// It is the same request once more: this is what it was answered then.
    pub expects: Option<Reply>,
    /// Its reply may come before the keyspace's rule is met: it promises nothing.
    early: bool,
    /// Replies that the commands sent last will give.
    pub replies: usize,
    /// The exchange that follows, for those with two.
    second: Option<Second>,
}

enum Second {
    Swap {
        new: i64,
    },
    Answer,
    Question,
    AnswerSigned,
    QuestionSigned,
    SiteAnswer,
    SiteQuestion,
    /// The other half of the accounts, in the same snapshot.
    Snapshot,
    SnapshotEnd,
}

/// What happens after all replies are there.
pub enum Next {
    Send(Vec<Command>),
    Done(Outcome),
}

pub fn command(words: &[&str]) -> Command {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// Draws the next task: what to send first. `unique`: a value nobody wrote before.
pub fn begin(kind: Kind, now: u64, unique: i64, random: &mut Random) -> (Task, Vec<Command>) {
    let (era, value) = (now / KEYS_LIVE, unique.to_string());
    let key = |name: &str, many: u64, random: &mut Random| format!("{name}{era}-{}", random.below(many));
    match kind {
        Kind::Register => {
            let key = key("register", 3, random);
            match random.below(10) {
                0..=3 => single(key.clone(), Did::Read { value: None }, &["GET", &key]),
                4..=7 => single(key.clone(), Did::Write { value: unique }, &["SET", &key, &value]),
                _ => {
                    let commands = vec![command(&["WATCH", &key]), command(&["GET", &key])];
                    let did = Did::Swap { old: None, new: unique };
                    (Task { second: Some(Second::Swap { new: unique }), ..Task::new(key, did, 2) }, commands)
                }
            }
        }
        Kind::Counter => {
            let key = key("counter", 2, random);
            match random.below(4) {
                0 => single(key.clone(), Did::Count { seen: 0 }, &["GET", &key]),
                _ => single(key.clone(), Did::Increment { seen: 0 }, &["INCR", &key]),
            }
        }
        Kind::Set => {
            let key = key("set", 2, random);
            match random.below(4) {
                0 => single(key.clone(), Did::Members { seen: Vec::new() }, &["SMEMBERS", &key]),
                _ => single(key.clone(), Did::Add { element: unique }, &["SADD", &key, &value]),
            }
        }
        Kind::List => {
            let key = key("list", 2, random);
            match random.below(5) {
                0 => single(key.clone(), Did::Range { seen: Vec::new() }, &["LRANGE", &key, "0", "-1"]),
                _ => single(key.clone(), Did::Push { element: unique }, &["RPUSH", &key, &value]),
            }
        }
        Kind::Bank => bank(random),
        Kind::Expiry => {
            // Young keys, so that some reads come before the end and some after.
            let key = format!("expiring{}-{}", now / 1_000_000_000, random.below(2));
            match random.below(3) {
                0 => single(
                    key.clone(),
                    Did::SetExpiring { value: unique },
                    &["SET", &key, &value, "PX", "300"],
                ),
                _ => single(key.clone(), Did::ReadExpiring { value: None }, &["GET", &key]),
            }
        }
        Kind::Watch => {
            let key = hot(now);
            single(key.clone(), Did::Read { value: None }, &["GET", &key])
        }
        Kind::Heat => {
            let key = hot(now);
            single(key.clone(), Did::Write { value: unique }, &["SET", &key, &value])
        }
        Kind::Ids => {
            let key = key("ids", 2, random);
            let take = ["INCR", key.as_str()];
            let commands = match random.below(3) {
                0 => vec![command(&["MULTI"]), command(&take), command(&["EXEC"])],
                _ => vec![command(&take)],
            };
            let (did, replies) = (Did::Issue { id: 0 }, commands.len());
            (Task::new(key, did, replies), commands)
        }
        Kind::Session => {
            // One slot: positions are compared, and those of two groups cannot be.
            let key = key("{session}", 4, random);
            match random.below(2) {
                0 => with_receipt(single(key.clone(), Did::Read { value: None }, &["GET", &key])),
                _ => with_receipt(single(key.clone(), Did::Write { value: unique }, &["SET", &key, &value])),
            }
        }
        Kind::Stale => {
            let key = key("{session}", 4, random);
            with_receipt(single(key.clone(), Did::Read { value: None }, &["GET", &key]))
        }
        Kind::Retry => {
            let (list, read) = (random.chance(400), random.chance(200));
            let key = key(if list { "pushed" } else { "counted" }, 2, random);
            let id = format!("client{}:{unique}", unique % 7);
            match (list, read) {
                (true, true) => {
                    single(key.clone(), Did::Range { seen: Vec::new() }, &["LRANGE", &key, "0", "-1"])
                }
                (false, true) => single(key.clone(), Did::Count { seen: 0 }, &["GET", &key]),
                (true, false) => {
                    with_id(&id, key.clone(), Did::Push { element: unique }, &["RPUSH", &key, &value])
                }
                (false, false) => with_id(&id, key.clone(), Did::Increment { seen: 0 }, &["INCR", &key]),
            }
        }
        Kind::Asked => {
            let key = key("asked", 3, random);
            if random.chance(400) {
                return single(key.clone(), Did::Read { value: None }, &["GET", &key]);
            }
            let (options, early) = WISHES[random.below(WISHES.len() as u64) as usize];
            let words: Vec<&str> = ["WITH"]
                .into_iter()
                .chain(options.split(' '))
                .chain(["DO", "SET", key.as_str(), value.as_str()])
                .collect();
            let (task, commands) = single(key.clone(), Did::Write { value: unique }, &words);
            (Task { early, ..task }, commands)
        }
        Kind::Roam => {
            let key = key("{roam}", 3, random);
            with_token(match random.below(5) {
                0 | 1 => single(key.clone(), Did::Write { value: unique }, &["SET", &key, &value]),
                _ => single(key.clone(), Did::Read { value: None }, &["GET", &key]),
            })
        }
        Kind::Fresh => {
            let key = key("{roam}", 3, random);
            with_receipt(single(key.clone(), Did::Read { value: None }, &["GET", &key]))
        }
        Kind::Ask => single("question".into(), Did::Increment { seen: 0 }, &["INCR", "question"]),
        Kind::Answer => {
            let task = Task::new(String::new(), Did::Anything, 2);
            (Task { second: Some(Second::Answer), ..task }, within("questions", &["GET", "question"]))
        }
        Kind::Observe => {
            let task =
                Task::new("dialogue".into(), Did::Observe { answer: 0, question: 0, copies: false }, 2);
            (Task { second: Some(Second::Question), ..task }, within("answers", &["GET", "answer"]))
        }
        Kind::AnswerSigned => {
            let mut commands = within("questions", &["GET", "question"]);
            commands.push(command(&["SESSION", "TOKEN"]));
            let task = Task::new(String::new(), Did::Anything, commands.len());
            (Task { second: Some(Second::AnswerSigned), ..task }, commands)
        }
        Kind::ObserveSigned => {
            let task = Task::new("signed".into(), Did::Observe { answer: 0, question: 0, copies: false }, 2);
            (Task { second: Some(Second::QuestionSigned), ..task }, within("answers", &["GET", "signed"]))
        }
        Kind::QuorumRegister
        | Kind::QuorumCounter
        | Kind::QuorumSet
        | Kind::QuorumStrict
        | Kind::QuorumKeys
        | Kind::QuorumAgreed => quorum::begin(kind, now, unique, random),
        Kind::SiteBank => bank(random),
        Kind::SiteRegister
        | Kind::SiteTicket
        | Kind::SiteSwap
        | Kind::SiteRoam
        | Kind::SiteAsk
        | Kind::SiteAnswer
        | Kind::SiteObserve => sites::begin(kind, now, unique, random),
        Kind::Anything => {
            let words = anything::draw(random);
            let replies = usize::from(anything::answers(&words));
            (Task::new(String::new(), Did::Anything, replies), vec![words])
        }
    }
}

/// What writes ask for, and whether that may be less than some keyspace's rule.
const WISHES: [(&str, bool); 11] = [
    ("ACKS 0", true),
    ("ACKS 1", true),
    ("COMMIT async TIMEOUT 300", true),
    ("COMMIT semi-sync ACKS 1", true),
    ("COMMIT semi-sync ACKS 2 LEVEL applied", true),
    ("COMMIT majority", true),
    ("ACKS all", true),
    ("REPLICAS n1,n2,n3", true),
    ("COMMIT synchronous", false),
    ("COMMIT synchronous LEVEL applied TIMEOUT 700", false),
    ("LEVEL applied", false),
];

/// A request that was answered, under the same id once more.
pub fn echo(commands: Vec<Command>, expects: Reply) -> (Task, Vec<Command>) {
    (Task { expects: Some(expects), ..Task::new(String::new(), Did::Anything, commands.len()) }, commands)
}

/// A write under its client's own id.
fn with_id(id: &str, key: String, did: Did, words: &[&str]) -> (Task, Vec<Command>) {
    let words: Vec<&str> = ["WITH", "REQUEST", id, "DO"].iter().chain(words).copied().collect();
    let (task, commands) = single(key, did, &words);
    (Task { again: Some(commands.clone()), ..task }, commands)
}

fn hot(now: u64) -> String {
    format!("hot{}", now / KEYS_LIVE)
}

/// Reading everything again at the end of a run, as the history's last word.
pub fn read_back(did: &Did, key: &str) -> Option<(Task, Vec<Command>)> {
    let name = key.to_owned();
    Some(match did {
        Did::Write { .. } | Did::Swap { .. } if quorum::is_agreed(key) => {
            quorum::agreed(name, Did::Read { value: None }, &["GET", key])
        }
        Did::Push { .. } if quorum::is_agreed(key) => {
            quorum::agreed(name, Did::Range { seen: Vec::new() }, &["LRANGE", key, "0", "-1"])
        }
        Did::Write { .. } | Did::Swap { .. } => single(name, Did::Read { value: None }, &["GET", key]),
        Did::Increment { .. } => single(name, Did::Count { seen: 0 }, &["GET", key]),
        Did::Add { .. } | Did::Remove { .. } if quorum::is_list(key) => {
            single(name, Did::Members { seen: Vec::new() }, &["LRANGE", key, "0", "-1"])
        }
        Did::Add { .. } | Did::Remove { .. } if quorum::is_names(key) => {
            let [verb, pattern] = quorum::keys_of(key);
            single(name, Did::Members { seen: Vec::new() }, &[&verb, &pattern])
        }
        Did::Add { .. } | Did::Remove { .. } => {
            single(name, Did::Members { seen: Vec::new() }, &["SMEMBERS", key])
        }
        Did::Push { .. } => single(name, Did::Range { seen: Vec::new() }, &["LRANGE", key, "0", "-1"]),
        Did::Transfer => totals(),
        // Nobody judges what is there, but that copies agree on it.
        Did::Anything if !key.is_empty() => {
            (Task::new(name, Did::Anything, 1), vec![command(&["TYPE", key])])
        }
        _ => return None,
    })
}

fn within(keyspace: &str, words: &[&str]) -> Vec<Command> {
    vec![command(&["SELECT", keyspace]), command(words)]
}

fn single(key: String, did: Did, words: &[&str]) -> (Task, Vec<Command>) {
    (Task::new(key, did, 1), vec![command(words)])
}

/// The same, and where it was executed.
fn with_receipt((task, mut commands): (Task, Vec<Command>)) -> (Task, Vec<Command>) {
    commands.push(command(&["RECEIPT"]));
    (Task { replies: task.replies + 1, receipt: true, ..task }, commands)
}

/// With its receipt, and the token for who goes on from there.
fn with_token(task: (Task, Vec<Command>)) -> (Task, Vec<Command>) {
    let (task, mut commands) = with_receipt(task);
    commands.push(command(&["SESSION", "TOKEN"]));
    (Task { replies: task.replies + 1, asks_token: true, ..task }, commands)
}

fn totals() -> (Task, Vec<Command>) {
    let mut commands = vec![command(&["MULTI"])];
    commands.extend((0..ACCOUNTS).map(account));
    commands.push(command(&["EXEC"]));
    let replies = commands.len();
    (Task::new("bank".into(), Did::Total { seen: 0 }, replies), commands)
}

/// Half of the accounts, and a while later the others: their sum is right if both are of one moment.
fn totals_in_snapshot() -> (Task, Vec<Command>) {
    let mut commands = vec![command(&["SNAPSHOT", "OPEN"])];
    commands.extend((0..ACCOUNTS / 2).map(account));
    let task = Task::new("bank".into(), Did::Total { seen: 0 }, commands.len());
    (Task { second: Some(Second::Snapshot), ..task }, commands)
}

fn account(n: u64) -> Command {
    command(&["GET", &format!("{{account}}{n}")])
}

fn bank(random: &mut Random) -> (Task, Vec<Command>) {
    match random.below(10) {
        0..=1 => return totals(),
        2..=3 => return totals_in_snapshot(),
        _ => {}
    }
    let (from, to) = (random.below(ACCOUNTS), random.below(ACCOUNTS));
    let amount = random.between(1, 9).to_string();
    let commands = vec![
        command(&["MULTI"]),
        command(&["DECRBY", &format!("{{account}}{from}"), &amount]),
        command(&["INCRBY", &format!("{{account}}{to}"), &amount]),
        command(&["EXEC"]),
    ];
    (Task::new("bank".into(), Did::Transfer, 4), commands)
}

impl Task {
    fn new(key: String, did: Did, replies: usize) -> Task {
        Task {
            key,
            did,
            receipt: false,
            asks_token: false,
            token: None,
            place: Place::default(),
            again: None,
            expects: None,
            early: false,
            replies,
            second: None,
        }
    }

    /// All replies of an exchange are there.
    pub fn replied(&mut self, replies: &[Reply]) -> Next {
        match self.second.take() {
            Some(Second::Swap { new }) => return self.swap(new, replies),
            Some(Second::Snapshot) => return self.go_on_in_snapshot(replies),
            Some(_) if replies.iter().any(|reply| reply.error().is_some()) => {
                return Next::Done(Outcome::Fail);
            }
            Some(Second::SnapshotEnd) => {
                self.add_accounts(replies);
                return Next::Done(Outcome::Ok);
            }
            Some(Second::Answer) => {
                let newest = replies.last().and_then(Reply::number).unwrap_or(0).to_string();
                return Next::Send(within("answers", &["SET", "answer", &newest]));
            }
            Some(Second::Question) => {
                let answer = replies.last().and_then(Reply::number).unwrap_or(0);
                self.did = Did::Observe { answer, question: 0, copies: false };
                return Next::Send(within("questions", &["GET", "question"]));
            }
            Some(Second::SiteAnswer) => return Next::Send(sites::answer(replies)),
            Some(Second::SiteQuestion) => return Next::Send(sites::question(&mut self.did, replies)),
            Some(Second::AnswerSigned) => {
                let [.., newest, token] = replies else { return Next::Done(Outcome::Info) };
                let (newest, token) = (newest.number().unwrap_or(0), token.text().unwrap_or_default());
                self.replies = 2;
                return Next::Send(within("answers", &["SET", "signed", &format!("{newest} {token}")]));
            }
            Some(Second::QuestionSigned) => {
                let signed = replies.last().and_then(Reply::text).unwrap_or_default();
                let (answer, token) = signed.split_once(' ').unwrap_or_default();
                let answer = answer.parse().unwrap_or(0);
                self.did = Did::Observe { answer, question: 0, copies: false };
                let mut commands = within("questions", &["GET", "question"]);
                if !token.is_empty() {
                    commands.insert(0, command(&["SESSION", "RESUME", token]));
                }
                self.replies = commands.len();
                return Next::Send(commands);
            }
            None => {}
        }
        let told = usize::from(self.receipt) + usize::from(self.asks_token);
        if self.asks_token {
            self.token = replies.last().and_then(Reply::text);
        }
        let receipt =
            replies.len().checked_sub(1 + usize::from(self.asks_token)).and_then(|at| replies.get(at));
        let answers = &replies[..replies.len() - told];
        let Some(last) = answers.last() else { return Next::Done(Outcome::Info) };
        if let Some(text) = last.error() {
            return Next::Done(outcome_of_error(text));
        }
        if let (true, Some(receipt)) = (self.receipt, receipt)
            && quorum::is_strict(&self.key)
        {
            self.place = Place::of_quorum(receipt);
        } else if let (true, Some(receipt)) = (self.receipt, receipt) {
            let is_write = matches!(self.did, Did::Write { .. });
            match Place::told(receipt, is_write) {
                Some(place) => self.place = place,
                None if is_write => {}
                // Nobody can say which promise it falls under.
                None => return Next::Done(Outcome::Info),
            }
        }
        self.place.was_there = matches!(self.did, Did::Add { .. }) && last.number() == Some(0);
        let outcome = self.understand(last);
        Next::Done(if self.early { Outcome::Info } else { outcome })
    }

    fn add_accounts(&mut self, replies: &[Reply]) {
        if let Did::Total { seen } = &mut self.did {
            *seen += replies.iter().filter_map(Reply::number).sum::<i64>();
        }
    }

    fn go_on_in_snapshot(&mut self, replies: &[Reply]) -> Next {
        if replies.first().is_none_or(|opened| opened.error().is_some()) {
            return Next::Done(Outcome::Fail);
        }
        let mut commands = vec![command(&["SNAPSHOT", "CLOSE"])];
        if replies.iter().any(|reply| reply.error().is_some()) {
            // It has ended: what the sum would have been nobody knows.
            self.early = true;
        } else {
            self.add_accounts(&replies[1..]);
            (ACCOUNTS / 2..ACCOUNTS).rev().for_each(|n| commands.insert(0, account(n)));
            self.second = Some(Second::SnapshotEnd);
        }
        self.replies = commands.len();
        Next::Send(commands)
    }

    fn swap(&mut self, new: i64, replies: &[Reply]) -> Next {
        let [watched, got] = replies else { return Next::Done(Outcome::Fail) };
        if !watched.is_ok() || got.error().is_some() {
            return Next::Done(Outcome::Fail);
        }
        self.did = Did::Swap { old: got.number(), new };
        self.replies = 3;
        let (key, new) = (self.key.clone(), new.to_string());
        Next::Send(vec![command(&["MULTI"]), command(&["SET", &key, &new]), command(&["EXEC"])])
    }

    /// Fills in what was seen.
    fn understand(&mut self, reply: &Reply) -> Outcome {
        let number = reply.number();
        // Who sets and gets is told what was there before.
        if let Did::Write { value } = self.did
            && (quorum::is_agreed(&self.key) || sites::is_swapped(&self.key))
            && !reply.is_ok()
        {
            self.did = Did::Swap { old: number, new: value };
            return Outcome::Ok;
        }
        match &mut self.did {
            Did::Read { value } | Did::ReadExpiring { value } => *value = number,
            Did::Increment { seen } => match number {
                Some(number) => *seen = number,
                None => return Outcome::Info,
            },
            Did::Remove { gone, .. } => *gone = number == Some(1),
            Did::Observe { question, .. } => *question = number.unwrap_or(0),
            Did::Count { seen } => *seen = number.unwrap_or(0),
            Did::Members { seen } if quorum::is_names(&self.key) => match quorum::elements_of(reply) {
                Some(elements) => *seen = elements,
                None => return Outcome::Info,
            },
            Did::Members { seen } | Did::Range { seen } => match reply.numbers() {
                Some(numbers) => *seen = numbers,
                None => return Outcome::Info,
            },
            Did::Total { seen } => {
                let Reply::Array(items) = reply else { return Outcome::Fail };
                *seen = items.iter().filter_map(Reply::number).sum();
            }
            // EXEC answers nothing when the watch broke: nothing was done.
            Did::Swap { .. } | Did::Transfer | Did::Issue { .. } if *reply == Reply::Nil => {
                return Outcome::Fail;
            }
            Did::Issue { id } => match reply.only().number() {
                Some(number) => *id = number,
                None => return Outcome::Info,
            },
            Did::Write { .. }
            | Did::Clear
            | Did::Misuse
            | Did::Swap { .. }
            | Did::Transfer
            | Did::Add { .. }
            | Did::Push { .. }
            | Did::SetExpiring { .. }
            | Did::Anything => {}
        }
        Outcome::Ok
    }
}
