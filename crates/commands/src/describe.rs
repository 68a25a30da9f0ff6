//! Short forms for the command tables of the families.

use crate::call::{Call, CommandResult};
use crate::spec::{Class, Flags, Keys, Spec};

/// The function behind a command.
type Run = for<'a, 'c, 'd> fn(&'d mut Call<'a, 'c>) -> CommandResult;

/// The family of the commands of a table, as Redis groups them.
pub(crate) struct Family(pub(crate) &'static str);

impl Family {
    /// A command that reads; its only key is its first argument unless [`Spec::keys`] says otherwise.
    pub(crate) const fn read(&self, name: &'static str, arity: i32, run: Run) -> Spec {
        self.command(Class::Read, Flags::READONLY, name, arity, run)
    }
    pub(crate) const fn write(&self, name: &'static str, arity: i32, run: Run) -> Spec {
        self.command(Class::Write, Flags::WRITE, name, arity, run)
    }
    pub(crate) const fn blocking(&self, name: &'static str, arity: i32, run: Run) -> Spec {
        self.command(Class::Blocking, Flags::WRITE.and(Flags::BLOCKING), name, arity, run)
    }
    const fn command(&self, class: Class, flags: Flags, name: &'static str, arity: i32, run: Run) -> Spec {
        Spec {
            name,
            arity,
            flags,
            keys: Keys::Range { first: 1, last: 1, step: 1 },
            class,
            group: self.0,
            since: "",
            summary: "",
            complexity: "",
            subcommands: &[],
            run: Some(run),
        }
    }
}

impl Spec {
    /// Adds flags to those that follow from the class.
    pub(crate) const fn flags(mut self, more: Flags) -> Spec {
        self.flags = self.flags.and(more);
        self
    }
    pub(crate) const fn keys(mut self, keys: Keys) -> Spec {
        self.keys = keys;
        self
    }
    /// The subcommands of a container.
    pub(crate) const fn subcommands(mut self, names: &'static [&'static str]) -> Spec {
        self.subcommands = names;
        self
    }
    /// What `COMMAND DOCS` tells: the first version of Redis that had it, how its work grows, what it does.
    pub(crate) const fn docs(
        mut self,
        since: &'static str,
        complexity: &'static str,
        summary: &'static str,
    ) -> Spec {
        self.since = since;
        self.complexity = complexity;
        self.summary = summary;
        self
    }
}
