//! The network: messages take their time, get lost, come twice, overtake each other, or find a way cut.
//!
//! All messages wait in one queue, ordered by arrival, ends and number; so the order in which tasks of one moment happen
//! to run does not change who hears what when.

use crate::clock::Epoch;
use crate::dice::Dice;
use crate::limits::{DETOUR_MS, DETOUR_ONE_IN, LOST_MS, WAY_MS};
use crate::sync::lock;
use crate::tasks::Tasks;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use symbolon_crypto::Hash;
use tokio::sync::{Notify, oneshot};

/// An end of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A node, by its index.
    Node(u16),
    /// A client, by its number.
    Client(u16),
}

/// Who is asked, and what; channels are authenticated.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// By another node.
    Peer(Bytes),
    /// By a client whose connection shows this key.
    Client { key: Hash, bytes: Bytes },
}

/// What a node answers.
pub(crate) struct Served {
    /// The answer; `None` breaks the connection.
    pub(crate) bytes: Option<Bytes>,
    /// A fragment is in it.
    pub(crate) released: bool,
}

/// A future answer.
pub(crate) type Serving = Pin<Box<dyn Future<Output = Served> + Send>>;

/// A node as the network sees it.
pub(crate) trait Serve: Send + Sync + 'static {
    /// Answers.
    fn serve(self: Arc<Self>, from: Place, asked: Asked) -> Serving;
}

/// No answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Nobody is there; nothing was delivered.
    Unreachable,
    /// It may have been delivered.
    Broken,
    /// It may have been delivered.
    Timeout,
}

/// What is wrong with some ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nothing passes from one to the other.
    Cut(Place, Place),
    /// What passes from one to the other takes so many ms longer.
    Slow(Place, Place, u64),
    /// So many of a hundred messages get lost, everywhere.
    Lossy(u64),
    /// So many of a hundred requests come twice, everywhere.
    Twice(u64),
}

type Sender = oneshot::Sender<Result<Bytes, NoAnswer>>;

enum Parcel {
    Request {
        asked: Asked,
        sender: Option<Sender>,
    },
    Reply {
        result: Result<Bytes, NoAnswer>,
        sender: Sender,
    },
    /// Lost on the way. Whoever waits learns nothing.
    Lost {
        _sender: Option<Sender>,
    },
}

/// Order of delivery: when, to whom, from whom, which.
type Slot = (u64, Place, Place, u64);

struct Way {
    dice: Dice,
    sent: u64,
}

struct Online {
    node: Arc<dyn Serve>,
    tasks: Arc<Tasks>,
    boot: u64,
}

struct State {
    seed: u64,
    queue: BTreeMap<Slot, Parcel>,
    ways: BTreeMap<(Place, Place), Way>,
    rules: BTreeMap<u64, Rule>,
    rules_made: u64,
    online: BTreeMap<u16, Online>,
}

/// Called when an answer with a fragment has left a node.
type AfterRelease = Box<dyn Fn(u16) + Send + Sync>;

struct Shared {
    epoch: Epoch,
    state: Mutex<State>,
    more: Notify,
    after_release: Mutex<Option<AfterRelease>>,
}

/// The network. Clones are the same.
#[derive(Clone)]
pub(crate) struct Net(Arc<Shared>);

/// A rule that was imposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RuleId(u64);

impl State {
    fn way(&mut self, from: Place, to: Place) -> &mut Way {
        let seed = self.seed;
        self.ways.entry((from, to)).or_insert_with(|| Way {
            dice: Dice::new(seed, &format!("way {from:?} {to:?}")),
            sent: 0,
        })
    }

    fn cut(&self, from: Place, to: Place) -> bool {
        self.rules.values().any(|rule| *rule == Rule::Cut(from, to))
    }

    /// When a message that leaves now arrives, and its number; `None` if it gets lost.
    fn travel(&mut self, now_ms: u64, from: Place, to: Place) -> (Option<u64>, u64) {
        let (mut extra, mut lossy) = (0, 0);
        for rule in self.rules.values() {
            match *rule {
                Rule::Slow(a, b, ms) if (a, b) == (from, to) => extra += ms,
                Rule::Lossy(percent) => lossy += percent,
                _ => {}
            }
        }
        let cut = self.cut(from, to);
        let way = self.way(from, to);
        way.sent += 1;
        let mut taken = way.dice.between(WAY_MS) + extra;
        if way.dice.one_in(DETOUR_ONE_IN) {
            taken += way.dice.between(DETOUR_MS);
        }
        let lost = way.dice.percent(lossy) || cut;
        ((!lost).then_some(now_ms + taken), way.sent)
    }

    fn twice(&mut self, from: Place, to: Place) -> bool {
        let percent = self.rules.values().map(|rule| match rule {
            Rule::Twice(percent) => *percent,
            _ => 0,
        });
        let percent = percent.sum();
        self.way(from, to).dice.percent(percent)
    }

    fn post(&mut self, now_ms: u64, from: Place, to: Place, parcel: Parcel) {
        let (arrives, number) = self.travel(now_ms, from, to);
        match (arrives, parcel) {
            (Some(at_ms), parcel) => {
                self.queue.insert((at_ms, to, from, number), parcel);
            }
            (None, Parcel::Request { sender, .. }) => self.lose(now_ms, from, to, number, sender),
            (None, Parcel::Reply { sender, .. }) => self.lose(now_ms, from, to, number, Some(sender)),
            (None, Parcel::Lost { .. }) => {}
        }
    }

    fn lose(&mut self, now_ms: u64, from: Place, to: Place, number: u64, sender: Option<Sender>) {
        self.queue
            .insert((now_ms + LOST_MS, to, from, number), Parcel::Lost { _sender: sender });
    }
}

impl Net {
    /// Starts a network with nobody in it.
    pub(crate) fn start(seed: u64, epoch: Epoch) -> Self {
        let state = State {
            seed,
            queue: BTreeMap::new(),
            ways: BTreeMap::new(),
            rules: BTreeMap::new(),
            rules_made: 0,
            online: BTreeMap::new(),
        };
        let net = Self(Arc::new(Shared {
            epoch,
            state: Mutex::new(state),
            more: Notify::new(),
            after_release: Mutex::new(None),
        }));
        tokio::spawn(net.clone().deliver());
        net
    }

    /// What to do when an answer with a fragment has left a node.
    pub(crate) fn after_release(&self, act: impl Fn(u16) + Send + Sync + 'static) {
        *lock(&self.0.after_release) = Some(Box::new(act));
    }

    /// A node can be reached from now on.
    pub(crate) fn join(&self, node: u16, boot: u64, serve: Arc<dyn Serve>, tasks: Arc<Tasks>) {
        let online = Online {
            node: serve,
            tasks,
            boot,
        };
        lock(&self.0.state).online.insert(node, online);
    }

    /// A node cannot be reached any more.
    pub(crate) fn leave(&self, node: u16) {
        // Dropped outside the lock.
        let gone = lock(&self.0.state).online.remove(&node);
        drop(gone);
    }

    /// Whether this boot of a node is the one that can be reached.
    pub(crate) fn online(&self, node: u16, boot: u64) -> bool {
        let state = lock(&self.0.state);
        state.online.get(&node).is_some_and(|online| online.boot == boot)
    }

    /// Makes something wrong.
    pub(crate) fn impose(&self, rule: Rule) -> RuleId {
        let mut state = lock(&self.0.state);
        state.rules_made += 1;
        let id = state.rules_made;
        state.rules.insert(id, rule);
        RuleId(id)
    }

    /// Makes it right again.
    pub(crate) fn lift(&self, rule: RuleId) {
        lock(&self.0.state).rules.remove(&rule.0);
    }

    /// Makes everything right again.
    pub(crate) fn heal(&self) {
        lock(&self.0.state).rules.clear();
    }

    /// Asks node `to` and waits for the answer.
    pub(crate) async fn ask(&self, from: Place, to: u16, asked: Asked, within: Duration) -> Result<Bytes, NoAnswer> {
        let (sender, answer) = oneshot::channel();
        {
            let now_ms = self.0.epoch.elapsed_ms();
            let place = Place::Node(to);
            let mut state = lock(&self.0.state);
            if state.twice(from, place) {
                let copy = Parcel::Request {
                    asked: asked.clone(),
                    sender: None,
                };
                state.post(now_ms, from, place, copy);
            }
            let parcel = Parcel::Request {
                asked,
                sender: Some(sender),
            };
            state.post(now_ms, from, place, parcel);
        }
        self.0.more.notify_one();
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(NoAnswer::Broken),
            Err(_) => Err(NoAnswer::Timeout),
        }
    }

    async fn deliver(self) {
        loop {
            let now_ms = self.0.epoch.elapsed_ms();
            let (next, due) = {
                let mut state = lock(&self.0.state);
                match state.queue.first_key_value().map(|(slot, _)| slot.0) {
                    Some(at_ms) if at_ms <= now_ms => (None, state.queue.pop_first()),
                    next => (next, None),
                }
            };
            if let Some((slot, parcel)) = due {
                self.hand_over(slot, parcel);
                continue;
            }
            let until = async {
                match next {
                    Some(at_ms) => tokio::time::sleep_until(self.0.epoch.moment(at_ms)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = until => {}
                () = self.0.more.notified() => {}
            }
        }
    }

    fn hand_over(&self, (_, to, from, _): Slot, parcel: Parcel) {
        let now_ms = self.0.epoch.elapsed_ms();
        match parcel {
            Parcel::Lost { .. } => {}
            Parcel::Reply { result, sender } => {
                // Whoever waited may have given up.
                let _ = sender.send(result);
            }
            Parcel::Request { asked, sender } => {
                let Place::Node(node) = to else { return };
                let mut state = lock(&self.0.state);
                if state.cut(from, to) {
                    // It was cut while the message was on its way.
                    let way = state.way(from, to);
                    way.sent += 1;
                    let number = way.sent;
                    return state.lose(now_ms, from, to, number, sender);
                }
                let Some(online) = state.online.get(&node) else {
                    if let Some(sender) = sender {
                        let result = Err(NoAnswer::Unreachable);
                        state.post(now_ms, to, from, Parcel::Reply { result, sender });
                    }
                    return;
                };
                let (serve, tasks) = (Arc::clone(&online.node), Arc::clone(&online.tasks));
                drop(state);
                let (net, serving) = (self.clone(), serve.serve(from, asked));
                tasks.spawn(async move {
                    let served = serving.await;
                    net.send_back(node, from, served, sender);
                });
            }
        }
    }

    fn send_back(&self, node: u16, to: Place, served: Served, sender: Option<Sender>) {
        // Without bytes the sender is dropped, which breaks the connection.
        if let (Some(bytes), Some(sender)) = (served.bytes, sender) {
            let now_ms = self.0.epoch.elapsed_ms();
            let parcel = Parcel::Reply {
                result: Ok(bytes),
                sender,
            };
            lock(&self.0.state).post(now_ms, Place::Node(node), to, parcel);
            self.0.more.notify_one();
        }
        if served.released
            && let Some(act) = lock(&self.0.after_release).as_ref()
        {
            act(node);
        }
    }
}
