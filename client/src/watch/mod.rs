//! Watching secrets: told at once what changed, by t nodes alike (docs/specs/watch.md). Each node is asked for what comes
//! after what it told last, and answers when there is something; what they tell is merged by [`tally`].

mod question;
mod tally;

use crate::client::{Client, Inner};
use crate::error::Error;
use crate::limits::{WATCH_BACKLOG_MAX, WATCH_DOUBT, WATCH_REST, WATCH_STALLED_AFTER, WATCH_WAIT};
use crate::node::{Failure, Node};
use crate::verdict::{Tried, conclude, refusal};
use question::{poll, request, target};
use std::sync::Arc;
use std::time::Duration;
use symbolon_wire::change::{ChangeKind, Target};
use symbolon_wire::{Code, v1};
use tally::{Step, Tally};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How often a watch that waits looks around.
const WAKE_EVERY: Duration = Duration::from_secs(1);

/// What one log entry changed about one secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Log index of the entry: the position to go on from, once this change is dealt with.
    pub index: u64,
    /// The secret's path.
    pub path: String,
    /// What was done.
    pub kind: ChangeKind,
    /// To which versions, ascending; with [`ChangeKind::Metadata`] the version of the metadata.
    pub versions: Vec<u64>,
    /// Versions that were destroyed in passing, because the secret keeps no more, ascending.
    pub destroyed: Vec<u64>,
}

impl From<v1::Change> for Change {
    fn from(change: v1::Change) -> Self {
        Self {
            index: change.log_index,
            path: change.path,
            kind: ChangeKind::from_number(change.kind),
            versions: change.versions,
            destroyed: change.destroyed,
        }
    }
}

/// A secret or folder that is watched. Dropped, it ends.
pub struct Watch {
    inner: Arc<Inner>,
    target: Target,
    what: String,
    tally: Tally,
    nodes: Vec<Asked>,
    polls: JoinSet<Heard>,
    /// The next answers are wanted at once, news or none.
    hurry: bool,
    /// Since when nodes have told different things of one entry.
    split: Option<(u64, Instant)>,
    /// When the position moved last.
    moved: Instant,
    /// When somebody waited last.
    waited: Instant,
}

/// One node, as the watch asks it.
struct Asked {
    node: Arc<Node>,
    asked: bool,
    rests_until: Instant,
    /// Why it last gave no answer; `None` since it did.
    failure: Option<Failure>,
    /// It does not reach back to the first position, and stands at the second.
    behind: Option<(u64, u64)>,
}

/// An answer, and what it answers.
struct Heard {
    node: u16,
    after: u64,
    waited: bool,
    since: Instant,
    reply: Result<v1::WatchReply, Failure>,
}

impl Client {
    /// Watches a secret (`prod/stripe/key`) or all below a folder (`prod/`, `/` for all there is), from the position `after`
    /// on: the index of a [`Change`], or what [`Watch::position`] gave. `None`: from now on.
    ///
    /// Whoever watches a secret must be permitted to `readMetadata` of it; a folder, to `list` it, and is told of secrets in
    /// it whose metadata may be read. A secret need not exist yet.
    ///
    /// # Errors
    /// [`Code::BadPath`]; [`Code::Denied`]; what [`Client::get`] gives for nodes.
    pub async fn watch(&self, path: &str, after: Option<u64>) -> Result<Watch, Error> {
        let target = target(path)?;
        let what = format!("watch {path}");
        // Asked in any case: who may not watch is to know at once.
        let stands = self.inner.stand(&what, &target).await?;
        let position = after.unwrap_or(stands);
        Ok(Watch::new(self.inner.clone(), target, what, position))
    }
}

impl Watch {
    fn new(inner: Arc<Inner>, target: Target, what: String, position: u64) -> Self {
        let now = Instant::now();
        let asked = |node: &Arc<Node>| Asked {
            node: node.clone(),
            asked: false,
            rests_until: now,
            failure: None,
            behind: None,
        };
        Self {
            tally: Tally::new(inner.nodes.iter().map(|node| node.index), inner.threshold(), position),
            nodes: inner.nodes.iter().map(asked).collect(),
            inner,
            target,
            what,
            polls: JoinSet::new(),
            hurry: false,
            split: None,
            moved: now,
            waited: now,
        }
    }

    /// All changes up to this log index have been given. A watch from here on goes on where this one ends.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.tally.position()
    }

    /// Waits for the next change. What waits may be dropped: nothing is lost by it. Lost connections, restarts and elections
    /// are waited out.
    ///
    /// # Errors
    /// [`Code::TooFarBehind`] where t nodes do not reach back to the position: look at all anew, and watch from the position
    /// that it names. [`Code::Denied`], [`Code::UnknownKey`] once rights are withdrawn. [`Code::Overloaded`] where too many
    /// watches wait. [`Code::NoQuorum`], [`Code::NotFresh`] where t nodes have not agreed on anything for [`WATCH_STALLED_AFTER`]: asked again, it goes on.
    pub async fn next(&mut self) -> Result<Change, Error> {
        if self.waited.elapsed() > 5 * WAKE_EVERY {
            // While nobody waited, nobody was asked.
            self.moved = Instant::now();
        }
        loop {
            self.waited = Instant::now();
            if let Some(change) = self.step() {
                return Ok(change.into());
            }
            if let Err(error) = self.check() {
                // Asked again, it goes on.
                self.moved = self.waited;
                for asked in &mut self.nodes {
                    (asked.failure, asked.behind) = (None, None);
                }
                return Err(error);
            }
            self.ask();
            let wake = self.wakes_at();
            tokio::select! {
                Some(joined) = self.polls.join_next(), if !self.polls.is_empty() => {
                    // One that was aborted tells nothing.
                    if let Ok(heard) = joined {
                        self.hear(heard);
                    }
                }
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// The next change that t nodes tell.
    fn step(&mut self) -> Option<v1::Change> {
        let before = self.tally.position();
        let step = self.tally.step();
        if self.tally.position() != before {
            self.moved = Instant::now();
        }
        match step {
            Step::Change(change) => {
                self.split = None;
                return Some(change);
            }
            Step::Wait => self.split = None,
            Step::Split(index) => {
                let now = Instant::now();
                let since = self
                    .split
                    .filter(|(at, _)| *at == index)
                    .map_or(now, |(_, since)| since);
                self.split = Some((index, since));
            }
        }
        None
    }

    /// Whether the nodes' answers leave no hope.
    fn check(&self) -> Result<(), Error> {
        let tried = |answered| Tried {
            what: &self.what,
            needed: self.inner.threshold(),
            answered,
            threshold: self.inner.threshold(),
            blocking: self.inner.blocking(),
        };
        let failures: Vec<(u16, Failure)> = self
            .nodes
            .iter()
            .filter_map(|asked| asked.failure.clone().map(|failure| (asked.node.index, failure)))
            .collect();
        let overloaded = |failure: &&(u16, Failure)| failure.1.error().code == Code::Overloaded;
        if failures.iter().filter(overloaded).count() >= self.inner.blocking() {
            let told = Error::new(
                Code::Overloaded,
                format!("cannot {}: nodes have no room for it", self.what),
            );
            let reasons = failures
                .iter()
                .map(|(node, failure)| format!("node {node}: {}", failure.error().in_one_line()));
            return Err(reasons
                .fold(told, Error::because)
                .next("end other watches, then watch again"));
        }
        let refused = failures
            .iter()
            .filter(|(_, failure)| refusal(failure).is_some())
            .count();
        if refused >= self.inner.blocking() {
            return Err(conclude(&tried(0), failures, Vec::new()));
        }
        let position = self.tally.position();
        let behind = self.nodes.iter().filter_map(|asked| asked.behind);
        let mut behind: Vec<u64> = behind
            .filter(|(at, _)| *at == position)
            .map(|(_, stands)| stands)
            .collect();
        if behind.len() >= self.inner.blocking() {
            // So many nodes stand there or further that one of them is honest.
            behind.sort_unstable_by(|one, other| other.cmp(one));
            let place = self.inner.threshold().min(behind.len()).saturating_sub(1);
            let stands = behind.get(place).copied().unwrap_or_default();
            return Err(too_far_behind(&self.what, position, stands));
        }
        if self.moved.elapsed() >= WATCH_STALLED_AFTER {
            if let Some((index, _)) = self.split {
                let told = Error::new(Code::NotFresh, format!("cannot {}: nodes do not agree", self.what));
                let told = self.tally.differing(index).into_iter().fold(told, Error::because);
                return Err(told.next("symbolon status"));
            }
            let answered = self.nodes.len() - failures.len();
            return Err(conclude(&tried(answered), failures, Vec::new()));
        }
        Ok(())
    }

    /// Asks each node that is not being asked, and neither rests nor has told more than the others confirm.
    fn ask(&mut self) {
        let now = Instant::now();
        if self.split.is_some_and(|(_, since)| since + WATCH_DOUBT <= now) {
            self.tally.forget();
            self.split = None;
            self.at_once();
        }
        let wait = if self.hurry { Duration::ZERO } else { WATCH_WAIT };
        let within = WATCH_WAIT + self.inner.net.options.request_timeout;
        for asked in &mut self.nodes {
            let index = asked.node.index;
            if asked.asked || asked.rests_until > now || self.tally.backlog(index) >= WATCH_BACKLOG_MAX {
                continue;
            }
            asked.asked = true;
            let (node, after) = (asked.node.clone(), self.tally.covered(index));
            let bytes = request(&self.target, after, wait, false);
            self.polls.spawn(async move {
                Heard {
                    node: index,
                    after,
                    waited: !wait.is_zero(),
                    since: now,
                    reply: poll(node, bytes, within).await,
                }
            });
        }
        self.hurry = false;
    }

    /// Asks all nodes anew, for answers at once.
    fn at_once(&mut self) {
        self.polls = JoinSet::new();
        self.nodes.iter_mut().for_each(|asked| asked.asked = false);
        self.hurry = true;
    }

    fn wakes_at(&self) -> Instant {
        let rests = self
            .nodes
            .iter()
            .filter(|asked| !asked.asked)
            .map(|asked| asked.rests_until);
        let now = Instant::now();
        let doubt = self.split.map(|(_, since)| since + WATCH_DOUBT);
        rests
            .chain(doubt)
            .filter(|wake| *wake > now)
            .fold(now + WAKE_EVERY, Instant::min)
    }

    fn hear(&mut self, heard: Heard) {
        let Heard {
            node,
            after,
            waited,
            since,
            reply,
        } = heard;
        let position = self.tally.position();
        let Some(asked) = self.nodes.iter_mut().find(|asked| asked.node.index == node) else {
            return;
        };
        asked.asked = false;
        let now = Instant::now();
        let failure = match reply {
            Ok(reply) => {
                // One that comes back at once with nothing is not to be asked in a loop.
                if waited && reply.changes.is_empty() && now < since + WATCH_REST {
                    asked.rests_until = now + WATCH_REST;
                }
                match self.tally.take(node, &self.target, after, reply) {
                    Ok(()) => {
                        (asked.failure, asked.behind) = (None, None);
                        return;
                    }
                    Err(misdeed) => Failure::AtFault(Error::at_fault(node, misdeed)),
                }
            }
            Err(failure) => failure,
        };
        asked.rests_until = now + WATCH_REST;
        let known = asked.behind.take();
        let mut hurry = false;
        if let Failure::Refused { error, state_index } = &failure
            && error.code == Code::TooFarBehind
        {
            // Mostly it was started anew, and the others lead to where it stands: they are asked for that.
            hurry = after == position && known.is_none_or(|(at, _)| at != after);
            asked.behind = Some((after, *state_index));
        }
        asked.failure = Some(failure);
        if hurry {
            self.at_once();
        }
    }
}

fn too_far_behind(what: &str, position: u64, stands: u64) -> Error {
    Error::new(
        Code::TooFarBehind,
        format!("cannot {what} from position {position} on: the nodes do not remember that far back"),
    )
    .next(format!("look at all anew, then watch from position {stands}"))
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("target", &self.target)
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}
