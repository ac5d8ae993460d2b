//! What must be there after a crash, told from what the run acknowledged.

use std::collections::BTreeMap;

use symbolon_faults::Event;

use crate::script::{Node, Step, is_durable, steps};

/// What the script leaves after each number of steps; the twin in memory tells.
pub(crate) struct Oracle {
    shown: Vec<Vec<String>>,
    /// A kept state is what was there when it was kept.
    kept: BTreeMap<u64, String>,
}

/// How far a run came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Steps that must be there: up to the last durable one that was acknowledged.
    pub(crate) acknowledged: usize,
    /// Steps that may be there: those that were begun.
    pub(crate) begun: usize,
    /// Steps that were reported done or refused.
    pub(crate) done: usize,
    /// Those that were refused.
    pub(crate) refused: Vec<usize>,
}

impl Reached {
    /// Reads a note of the run.
    pub(crate) fn note(&mut self, note: &str) {
        let Some((word, place)) = note.trim().split_once(' ') else {
            return;
        };
        let place: usize = place.split(' ').next().unwrap().parse().unwrap();
        match word {
            "begin" => self.begun = place + 1,
            "done" => {
                self.done = place + 1;
                if is_durable(steps()[place]) {
                    self.acknowledged = place + 1;
                }
            }
            "refused" => {
                self.done = place + 1;
                self.refused.push(place);
            }
            other => panic!("the run says {other}"),
        }
    }

    pub(crate) fn of(events: &[Event]) -> Self {
        let mut reached = Self::default();
        for event in events {
            if let Event::Note(note) = event {
                reached.note(note);
            }
        }
        reached
    }
}

impl Oracle {
    pub(crate) async fn new() -> Self {
        let node = Node::in_memory();
        let mut shown = vec![node.shown().unwrap()];
        let mut kept = BTreeMap::new();
        for (place, step) in steps().into_iter().enumerate() {
            if step != Step::Reopen {
                node.take(place, step).await.unwrap();
            }
            if let Step::Freeze(index) = step {
                kept.insert(
                    index,
                    node.kept().unwrap().into_iter().find(|(at, _)| *at == index).unwrap().1,
                );
            }
            shown.push(node.shown().unwrap());
        }
        Self { shown, kept }
    }

    /// Whether what a crash left is what some steps leave: none that was acknowledged missing, none that was not begun
    /// there.
    pub(crate) fn check(&self, node: &Node, reached: &Reached) -> Result<(), String> {
        let found = node.shown().map_err(|fault| format!("cannot be read: {fault}"))?;
        let allowed = &self.shown[reached.acknowledged..=reached.begun];
        if !allowed.contains(&found) {
            let near = &self.shown[reached.acknowledged];
            let missing: Vec<_> = near.iter().filter(|line| !found.contains(line)).collect();
            let other: Vec<_> = found.iter().filter(|line| !near.contains(line)).collect();
            return Err(format!(
                "is left by no {} to {} steps; against the first: missing {missing:#?}, besides {other:#?}",
                reached.acknowledged, reached.begun
            ));
        }
        self.check_kept(node, reached)
    }

    fn check_kept(&self, node: &Node, reached: &Reached) -> Result<(), String> {
        let found = node
            .kept()
            .map_err(|fault| format!("a kept state cannot be read: {fault}"))?;
        for (index, state) in &found {
            if self.kept.get(index) != Some(state) {
                return Err(format!("the state kept under {index} is another"));
            }
        }
        // Those that were kept, and not begun to be forgotten.
        let steps = steps();
        let begun = &steps[..reached.begun];
        for (place, step) in steps[..reached.done].iter().enumerate() {
            let Step::Freeze(index) = step else { continue };
            if reached.refused.contains(&place) {
                continue;
            }
            let wanted = begun
                .iter()
                .all(|step| !matches!(step, Step::KeepFrozen(only) if only != index));
            if wanted && !found.iter().any(|(at, _)| at == index) {
                return Err(format!("the state kept under {index} is gone"));
            }
        }
        Ok(())
    }
}
