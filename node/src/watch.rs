//! Watching: an answer as soon as something changed, or after a bounded wait (docs/specs/watch.md). Whether the asker may
//! know is decided when it is answered, not when it asked, and written down before anything is told.

use crate::answers::{Answer, Answering};
use crate::member::error;
use crate::release::broken;
use crate::watchers::Place;
use std::time::Duration;
use symbolon_custody::gate::{self, Recorded, Ruling, Scene};
use symbolon_custody::replies::refused;
use symbolon_policy::Action;
use symbolon_state::{Fault, query};
use symbolon_wire::Code;
use symbolon_wire::change::Target;
use symbolon_wire::limits::WATCH_WAIT_MS_MAX;
use symbolon_wire::v1::{self, response};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

/// Changes that come together are told together; and who may see none of many is not looked at for each.
const GATHER: Duration = Duration::from_millis(5);
/// Decisions about one answer, when rights change between decision and answer each time.
const DECISIONS_MAX: usize = 4;

/// What one look at the state shows.
struct Look {
    ruling: Ruling,
    told: Result<v1::WatchReply, v1::Error>,
    /// Whether there was too much for one look.
    cut: bool,
    /// The count of entries that decisions depend on, when it was looked at.
    sensitive: u64,
}

impl Look {
    /// Whether there is a reason to answer at once.
    fn is_news(&self) -> bool {
        self.ruling.refuses() || self.told.as_ref().map_or(true, |reply| !reply.changes.is_empty())
    }

    fn upto(&self) -> Option<u64> {
        self.told.as_ref().ok().map(|reply| reply.upto)
    }
}

/// Somebody who waits: a place, and what wakes him.
struct Waiting<'a> {
    answering: &'a Answering<'a>,
    target: &'a Target,
    bell: Option<Receiver<()>>,
    _place: Place,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(bell) = self.bell.take() {
            self.answering.member.changes.bells().leave(self.target, bell);
        }
    }
}

impl Answering<'_> {
    /// What changed at a path or below a folder, as soon as there is something.
    pub(crate) async fn watch(&self, request: v1::WatchRequest) -> Answer {
        let target = Target::of(&request);
        let wait = Duration::from_millis(request.wait_ms.min(WATCH_WAIT_MS_MAX).into());
        let (by, mut after) = (Instant::now() + wait, request.after);
        self.fresh(0).await?;
        let looked = self.look(&target, after, request.now)?;
        if request.now || wait.is_zero() || looked.is_news() {
            return self.tell(looked, &target, after, request.now).await;
        }
        let mut waiting = self.wait(&target)?;
        loop {
            // Once more: it may have changed before the bell was there.
            let looked = self.look(&target, after, false)?;
            if looked.is_news() || Instant::now() >= by {
                return self.tell(looked, &target, after, false).await;
            }
            // What was left out so far need not be looked at again.
            after = looked.upto().unwrap_or(after).max(after);
            if !looked.cut
                && let Some(bell) = waiting.bell.as_mut()
                && matches!(tokio::time::timeout_at(by, bell.changed()).await, Ok(Ok(())))
            {
                tokio::time::sleep(GATHER).await;
            }
            self.fresh(0).await?;
        }
    }

    fn wait<'a>(&'a self, target: &'a Target) -> Result<Waiting<'a>, v1::Error> {
        let place = self.member.watchers.enter(&self.client.key);
        let place = place.map_err(|full| {
            let next = "end other watches, or watch a folder in place of many secrets";
            error(Code::Overloaded, full.to_string(), next)
        })?;
        Ok(Waiting {
            answering: self,
            target,
            bell: Some(self.member.changes.bells().listen(target)),
            _place: place,
        })
    }

    /// Decides on the newest state whether the asker may watch, and what of the changes he may see.
    fn look(&self, target: &Target, after: u64, now: bool) -> Result<Look, v1::Error> {
        let looked = self.member.on_scene(|scene, sensitive| {
            let action = match target {
                Target::Secret(_) => Action::ReadMetadata,
                Target::Folder(_) => Action::List,
            };
            let ruling = gate::rule_answer(scene, &self.asker(), action, Some(target.path()), target.is_folder())?;
            let (told, cut) = match now {
                true => (Ok(nothing(scene.state_index)), false),
                false => self.changes(scene, target, after)?,
            };
            Ok(Look {
                ruling,
                told,
                cut,
                sensitive,
            })
        });
        looked?.map_err(broken)
    }

    /// The changes that the asker may see: those of secrets whose metadata he may read. And whether there are more.
    fn changes(
        &self,
        scene: &Scene<'_>,
        target: &Target,
        after: u64,
    ) -> Result<(Result<v1::WatchReply, v1::Error>, bool), Fault> {
        let upto = scene.state_index;
        if upto <= after {
            // It lags behind what the asker has seen elsewhere.
            return Ok((Ok(nothing(upto)), false));
        }
        let page = match self.member.changes.page(target, after, upto) {
            Ok(page) => page,
            Err(behind) => {
                let message = format!(
                    "node {} remembers what changed after position {}, and {after} lies before it",
                    self.member.node, behind.floor
                );
                let next = format!("look at all anew, then watch from position {upto}");
                let refused = v1::Error {
                    state_index: upto,
                    ..error(Code::TooFarBehind, message, next)
                };
                return Ok((Err(refused), false));
            }
        };
        let subject = query::principal_by_key(scene.view, &self.client.key, gate::later_clock(scene))?;
        let Some(subject) = subject.filter(|subject| subject.tenant == self.member.roster.first_tenant) else {
            return Ok((Ok(nothing(page.upto)), page.cut));
        };
        let asker = self.asker();
        let shown = |path: &str| gate::shown(scene, &asker, &subject, Action::ReadMetadata, path, false);
        let changes = page.changes.iter().filter(|change| shown(&change.path));
        let reply = v1::WatchReply {
            changes: changes.map(|change| v1::Change::clone(change)).collect(),
            upto: page.upto,
        };
        Ok((Ok(reply), page.cut))
    }

    /// Writes the decision down, then tells. If something that it depends on was applied meanwhile, it is decided again.
    async fn tell(&self, looked: Look, target: &Target, after: u64, now: bool) -> Answer {
        let mut looked = looked;
        for _ in 0..DECISIONS_MAX {
            match self.releases.answer(looked.ruling).await? {
                Recorded::Answered(..) => {}
                Recorded::Refused(refusal, receipt) => {
                    crate::member::count(&self.member.counters.denials);
                    return Err(refused(refusal, &receipt));
                }
                Recorded::Permitted(..) => return Err(error(Code::Internal, "a release is no answer", "")),
            }
            if self.member.shown.load().sensitive == looked.sensitive {
                return looked.told.map(response::Result::Watch);
            }
            self.fresh(0).await?;
            looked = self.look(target, after, now)?;
        }
        let message = format!("rights change too fast on node {}", self.member.node);
        Err(error(Code::NotFresh, message, "try again"))
    }
}

/// No news up to here.
fn nothing(upto: u64) -> v1::WatchReply {
    v1::WatchReply {
        upto,
        ..v1::WatchReply::default()
    }
}
