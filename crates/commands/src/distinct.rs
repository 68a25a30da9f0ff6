//! First occurrences among the arguments of one command.

use alloc::collections::BTreeSet;
use smallvec::SmallVec;

/// Up to this many items a walk over a row of slices beats a tree. A guess.
const FEW_MAX: usize = 8;

/// Tells the first occurrence of an item from its repetitions.
///
/// A command does not see its own operations: `SADD s a a` adds one member, and only this notices.
#[derive(Default)]
pub(crate) struct Distinct<'a> {
    few: SmallVec<[&'a [u8]; FEW_MAX]>,
    many: BTreeSet<&'a [u8]>,
}

impl<'a> Distinct<'a> {
    /// True when the item was not given before.
    pub(crate) fn is_first(&mut self, item: &'a [u8]) -> bool {
        if self.many.is_empty() {
            if self.few.contains(&item) {
                return false;
            }
            if self.few.len() < FEW_MAX {
                self.few.push(item);
                return true;
            }
            self.many.extend(self.few.iter());
        }
        self.many.insert(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    #[test]
    fn an_item_is_first_once_however_many_there_are() {
        let names: Vec<String> = (0..40).map(|i| format!("{}", i % 20)).collect();
        let mut distinct = Distinct::default();
        let firsts: Vec<bool> = names.iter().map(|n| distinct.is_first(n.as_bytes())).collect();
        assert!(firsts[..20].iter().all(|f| *f));
        assert!(!firsts[20..].iter().any(|f| *f));
    }
}
