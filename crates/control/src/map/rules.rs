//! Rules of a keyspace for conflicts on some of its keys.
// catalogue: J15

use super::ClusterMap;
use crate::command::{Applied, Refusal};
use data::KeyspaceId;
use data::leaderless::ConflictPolicy;
use data::multi_leader::Conflict;
use data::rules::{NO_RULES_HERE, Rule, RuleChange};

impl ClusterMap {
    /// The rules of a keyspace, the first one before the others.
    pub fn rules_of(&self, keyspace: KeyspaceId) -> &[Rule] {
        self.rules.get(&keyspace).map_or(&[], |rules| rules)
    }
    /// Whether versions lie beside each other there, so that a rule has something to say of them.
    fn may_have_rules(&self, keyspace: KeyspaceId) -> bool {
        let leaderless = self.leaderless.get(&keyspace).map(|it| it.policy.conflict);
        let at_sites = self.multi_leader.get(&keyspace).map(|it| &it.conflict);
        leaderless.is_some_and(|it| it != ConflictPolicy::LastWriteWins)
            || at_sites
                .is_some_and(|it| !matches!(it, Conflict::LastWriteWins | Conflict::Home | Conflict::Block))
    }
    pub(super) fn change_rules(
        &mut self,
        keyspace: KeyspaceId,
        change: &RuleChange,
    ) -> Result<Applied, Refusal> {
        if !self.keyspaces.contains_key(&keyspace) {
            return Err(Refusal::UnknownKeyspace);
        }
        if !self.may_have_rules(keyspace) {
            return Err(Refusal::Invalid(NO_RULES_HERE));
        }
        let rules = change.applied(self.rules_of(keyspace)).map_err(Refusal::Invalid)?;
        if rules.is_empty() {
            self.rules.remove(&keyspace);
        } else {
            self.rules.insert(keyspace, rules);
        }
        Ok(Applied::Done)
    }
}
