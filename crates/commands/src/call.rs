//! One execution of one command: what it is given and what it yields.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use data::Operation;
use data::table::Found;
use wire::ReplyWriter;

/// What a command may read: one keyspace (shard) at one moment. Keys whose time has come by the view's clock are absent
/// here; the node has logged their expiry before the command runs (or, on a stale read, nobody writes).
pub trait View {
    fn get(&self, key: &[u8]) -> Option<Found<'_>>;
    /// Number of keys, expired ones that nobody removed yet included.
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Calls `each` for the keys of the step that `cursor` names and returns the cursor of the next step, 0 at the end.
    /// Starts with 0. A key that exists during the whole walk is shown at least once.
    fn scan(&self, cursor: u64, each: &mut dyn FnMut(&[u8], Found<'_>)) -> u64;
    /// Some key, chosen by `draw`.
    fn random_key(&self, draw: u64) -> Option<(&[u8], Found<'_>)>;
    /// Bytes of memory that the key takes, its value and the table's share included.
    fn memory_usage(&self, key: &[u8]) -> Option<usize>;
    /// Seconds since the key was last read or written, as far as the table knows.
    fn idle_seconds(&self, key: &[u8]) -> Option<u64>;
}

/// A small random generator (SplitMix64) that the node seeds: randomness is an input.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }
}

/// The operations of one command, in order.
pub type Ops<'a> = smallvec::SmallVec<[Operation<'a>; 1]>;

/// Everything a command function works with. `args[0]` is the command's name as the client wrote it; the arity has
/// been checked against the spec.
pub struct Call<'a, 'c> {
    pub args: &'a [&'a [u8]],
    pub view: &'c dyn View,
    /// The leader's time for this command, ms since 1970: expiry is judged and made by it.
    pub now_ms: i64,
    pub random: &'c mut Random,
    pub reply: ReplyWriter<'c>,
    pub ops: &'c mut Ops<'a>,
}

/// Why a command did nothing. The caller takes back what was written to `reply` and `ops`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandError {
    /// The whole line as the client sees it, first word in capitals.
    Text(Cow<'static, str>),
}

impl CommandError {
    pub const WRONG_TYPE: CommandError =
        CommandError::fixed("WRONGTYPE Operation against a key holding the wrong kind of value");
    pub const SYNTAX: CommandError = CommandError::fixed("ERR syntax error");
    pub const NOT_AN_INTEGER: CommandError =
        CommandError::fixed("ERR value is not an integer or out of range");
    pub const NOT_A_FLOAT: CommandError = CommandError::fixed("ERR value is not a valid float");
    pub const OVERFLOW: CommandError = CommandError::fixed("ERR increment or decrement would overflow");
    pub const NO_SUCH_KEY: CommandError = CommandError::fixed("ERR no such key");
    pub const OUT_OF_RANGE: CommandError = CommandError::fixed("ERR index out of range");

    pub const fn fixed(text: &'static str) -> CommandError {
        CommandError::Text(Cow::Borrowed(text))
    }
    pub fn new(text: String) -> CommandError {
        CommandError::Text(Cow::Owned(text))
    }
    pub fn text(&self) -> &str {
        let CommandError::Text(text) = self;
        text
    }
}

pub type CommandResult = Result<(), CommandError>;

/// A value that cannot be a string beyond this: 512 MB, as in Redis.
pub const STRING_LEN_MAX: usize = 512 << 20;

impl<'a> Call<'a, '_> {
    pub fn key(&self, at: usize) -> &'a [u8] {
        self.args[at]
    }
    pub fn op(&mut self, operation: Operation<'a>) {
        self.ops.push(operation);
    }
    /// Arguments from `at` on.
    pub fn rest(&self, at: usize) -> &'a [&'a [u8]] {
        self.args.get(at..).unwrap_or(&[])
    }
    pub fn owned(bytes: &[u8]) -> Cow<'a, [u8]> {
        Cow::Owned(Vec::from(bytes))
    }
}
