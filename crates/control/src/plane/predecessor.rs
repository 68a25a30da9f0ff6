//! The control leader that a control member follows. Should it fall silent and this member lead next, its silence began long
//! ago: a node that led both the control plane and a group costs one time-out then, and not two one after the other.

use crate::config::Timings;
use crate::detector::Detector;
use data::{Instant, NodeId};

#[derive(Debug)]
pub(super) struct Predecessor {
    timings: Timings,
    node: Option<NodeId>,
    detector: Detector,
}

impl Predecessor {
    pub fn new(timings: Timings, now: Instant) -> Predecessor {
        Predecessor { timings, node: None, detector: Detector::new(timings, now) }
    }

    /// A message of the control leader has come.
    pub fn heard(&mut self, now: Instant, leader: NodeId) {
        if let Some(before) = self.node.replace(leader)
            && before != leader
        {
            self.detector.forget(before);
        }
        self.detector.heard(now, leader);
    }

    /// A node sends its heartbeat. One that led before lives, though it says nothing as control leader any more.
    pub fn heard_as_node(&mut self, now: Instant, from: NodeId) {
        if self.node == Some(from) {
            self.detector.heard(now, from);
        }
    }

    /// While this process was away it could hear nobody.
    pub fn on_tick(&mut self, now: Instant) {
        self.detector.look(now, core::iter::empty());
    }

    /// This member leads now: the next leadership has another predecessor.
    pub fn tell(&mut self, detector: &mut Detector, now: Instant) {
        if let Some(node) = self.node.take() {
            self.on_tick(now);
            detector.inherit(&self.detector, node);
            self.detector = Detector::new(self.timings, now);
        }
    }
}
