//! Taking part in an election: the promise made durable, then the answer.

use super::io::{DropReason, Output, Report, RoleName, SealAnswer};
use super::replica::{Replica, Role};
use alloc::vec::Vec;
use data::record::Kind;
use data::{Epoch, Instant, ViewNumber};

/// An election that this replica takes part in.
pub(super) struct Sealing {
    pub epoch: Epoch,
    pub election: ViewNumber,
    pub not_before: Instant,
    /// Token of the fence record; `None` before the leases have ended.
    pub fence: Option<u64>,
    pub answered: bool,
}

impl Replica {
    pub(super) fn on_seal(
        &mut self,
        now: Instant,
        epoch: Epoch,
        election: ViewNumber,
        not_before: Instant,
        out: &mut Vec<Output>,
    ) {
        match &mut self.role {
            Role::Removed => return,
            Role::Sealed(sealing) if sealing.epoch == epoch => {
                // Asked again: the answer was lost, or the old leader has sealed itself in the meantime.
                if sealing.answered {
                    self.answer_seal(epoch, election, out);
                    return;
                }
                sealing.not_before = sealing.not_before.min(not_before);
            }
            _ => {
                // A promise made before a restart is answered again, unless that epoch already has a leader's entries.
                let asked = match &self.role {
                    Role::Sealed(sealing) => sealing.epoch,
                    _ => self.view.as_ref().map_or(Epoch(0), |view| view.epoch.next()),
                };
                let over = epoch < self.promised.max(asked) || epoch == self.log.last().position.epoch;
                if over || self.leads().is_some_and(|led| led >= epoch) {
                    out.push(Output::Report(Report::Dropped(DropReason::StaleEpoch)));
                    return;
                }
                self.become_sealed(epoch, election, not_before, out);
            }
        }
        self.fence_when_due(now, out);
    }

    /// Once the leases have ended: the promise goes to the log, and the answer waits for it.
    pub(super) fn fence_when_due(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Role::Sealed(sealing) = &self.role else { return };
        if sealing.fence.is_some() || now < sealing.not_before {
            return;
        }
        let epoch = sealing.epoch;
        if let Some(to) = self.strays_after() {
            if !self.may_cut(to, out) {
                return;
            }
            self.cut(to, out);
        }
        self.promised = self.promised.max(epoch);
        let record = self.mark_record(Kind::Fence, self.log.last().position.index);
        let token = self.persist(record, true, out);
        if let Role::Sealed(sealing) = &mut self.role {
            sealing.fence = Some(token);
        }
    }

    pub(super) fn answer_seal(&self, epoch: Epoch, election: ViewNumber, out: &mut Vec<Output>) {
        let last = self.log.last().position;
        out.push(Output::Sealed(SealAnswer {
            group: self.group,
            epoch,
            election,
            last,
            missed: self.missed(),
        }));
    }

    fn become_sealed(
        &mut self,
        epoch: Epoch,
        election: ViewNumber,
        not_before: Instant,
        out: &mut Vec<Output>,
    ) {
        self.role = Role::Sealed(Sealing { epoch, election, not_before, fence: None, answered: false });
        out.push(Output::Became(RoleName::Sealed));
    }
}
