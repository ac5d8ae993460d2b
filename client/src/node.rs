//! One node as its clients see it: a connection that is kept, reused and re-opened, and how fast it answers.

use crate::Options;
use crate::dial::Dialer;
use crate::error::{Error, Misdeed};
use crate::hello::{self, Boot};
use crate::identity::Identity;
use crate::limits::{ASKED_LAST_FOR, REDIAL_AFTER, SILENT_FOR};
use crate::reply::KnownGroups;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use symbolon_quic::{NoAnswer, exchange};
use symbolon_wire::frame::server_name;
use symbolon_wire::limits::RESPONSE_BYTES_MAX;
use symbolon_wire::reply::{ReleasedFragment, decode_response};
use symbolon_wire::roster::{self, Roster};
use symbolon_wire::v1::response::Result as Answer;
use symbolon_wire::{Code, v1};
use tokio::task::JoinSet;

/// Why a node gave no usable answer.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// It answered with an error.
    Refused {
        /// What it said.
        error: Error,
        /// The state that it decided on; 0 if it did not say.
        state_index: u64,
    },
    /// Nothing was sent.
    NotSent(Error),
    /// The request was sent, and no whole answer came: whether it had an effect is not known.
    Unanswered(Error),
    /// It answered something wrong.
    AtFault(Error),
}

impl Failure {
    pub(crate) fn error(&self) -> &Error {
        match self {
            Self::Refused { error, .. } | Self::NotSent(error) | Self::Unanswered(error) | Self::AtFault(error) => {
                error
            }
        }
    }

    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Refused { error, .. } | Self::NotSent(error) | Self::Unanswered(error) | Self::AtFault(error) => {
                error
            }
        }
    }
}

/// An open connection to a node that has proved who it is.
pub(crate) struct Live {
    connection: quinn::Connection,
    pub(crate) boot: Boot,
    pub(crate) groups: KnownGroups,
    /// Somebody is finding out whether the other end is still there.
    suspected: AtomicBool,
}

impl Live {
    /// Datagrams received so far: any sign of life.
    fn received(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }
}

/// The last sign of life that a node gave before it was asked.
pub(crate) struct Sign {
    /// There may have been no connection.
    live: Option<Arc<Live>>,
    received: u64,
    rtt: Duration,
}

impl Sign {
    /// Whoever has given no other by then is silent.
    pub(crate) fn silent_after(&self) -> Duration {
        SILENT_FOR.max(self.rtt * 8)
    }
}

/// An answer, and the boot that gave it.
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    pub(crate) fragment: Option<ReleasedFragment>,
    pub(crate) live: Arc<Live>,
}

/// What all nodes of one client share.
pub(crate) struct Net {
    pub(crate) roster: Roster,
    pub(crate) identity: Arc<Identity>,
    pub(crate) dialer: Dialer,
    pub(crate) options: Options,
    /// Where nodes may be found when the roster's addresses fail.
    pub(crate) fallback: Vec<String>,
    pub(crate) started: Instant,
}

/// A node of the roster.
pub(crate) struct Node {
    pub(crate) index: u16,
    member: roster::Node,
    net: Arc<Net>,
    live: RwLock<Option<Arc<Live>>>,
    reconnecting: AtomicBool,
    /// Held while dialling; keeps the last failure, so that those who waited do not dial again at once.
    dialling: tokio::sync::Mutex<Option<(Instant, Error)>>,
    boot_seen: AtomicU64,
    pace: Pace,
}

impl Node {
    pub(crate) fn new(net: Arc<Net>, member: roster::Node) -> Arc<Self> {
        Arc::new(Self {
            index: member.index,
            member,
            net,
            live: RwLock::new(None),
            reconnecting: AtomicBool::new(false),
            dialling: tokio::sync::Mutex::new(None),
            boot_seen: AtomicU64::new(0),
            pace: Pace::default(),
        })
    }

    /// Sends `request` and reads the answer, both within `within`, and the connection before them.
    pub(crate) async fn request(self: &Arc<Self>, request: Bytes, within: Duration) -> Result<Answered, Failure> {
        let within = self.net.options.within(within);
        let by = tokio::time::Instant::now() + within;
        let connected = match within.is_zero() {
            // What is sent too late for an answer may have an effect that nobody is told of.
            true => Err(self.no_connection(within)),
            false => tokio::time::timeout_at(by, self.live())
                .await
                .unwrap_or_else(|_| Err(self.no_connection(within))),
        };
        let live = connected.map_err(|error| {
            self.pace.failed(self.net.started);
            Failure::NotSent(error)
        })?;
        let watch = Watch::new(self.clone(), live.clone());
        let outcome = tokio::time::timeout_at(by, self.exchange(&live, request)).await;
        match outcome {
            Ok(Ok((response, fragment))) => {
                watch.answered();
                self.sort(response, fragment, live)
            }
            Ok(Err(failure)) => {
                watch.failed();
                Err(failure)
            }
            Err(_) => {
                watch.failed();
                let what = format!("node {} does not answer within {} ms", self.index, within.as_millis());
                Err(Failure::Unanswered(Error::new(Code::Timeout, what)))
            }
        }
    }

    /// As [`Self::request`], for what the node answers once something happens: how long that takes says nothing of how fast
    /// it is.
    pub(crate) async fn await_news(self: &Arc<Self>, request: Bytes, within: Duration) -> Result<Answered, Failure> {
        let within = self.net.options.within(within);
        let by = tokio::time::Instant::now() + within;
        let connect_within = within.min(self.net.options.connect_timeout);
        let live = match tokio::time::timeout(connect_within, self.live()).await {
            Ok(connected) => connected.map_err(Failure::NotSent)?,
            Err(_) => return Err(Failure::NotSent(self.no_connection(connect_within))),
        };
        match tokio::time::timeout_at(by, self.exchange(&live, request)).await {
            Ok(Ok((response, fragment))) => self.sort(response, fragment, live),
            Ok(Err(failure)) => {
                self.forget(&live);
                Err(failure)
            }
            Err(_) => {
                self.forget(&live);
                let what = format!("node {} does not answer within {} ms", self.index, within.as_millis());
                Err(Failure::Unanswered(Error::new(Code::Timeout, what)))
            }
        }
    }

    fn no_connection(&self, within: Duration) -> Error {
        let what = match within.as_millis() {
            0 => format!("no time is left to ask node {}", self.index),
            ms => format!("no connection to node {} came about within {ms} ms", self.index),
        };
        Error::new(Code::Timeout, what)
    }

    async fn exchange(&self, live: &Live, request: Bytes) -> Result<(v1::Response, Option<ReleasedFragment>), Failure> {
        let lost = |why: &dyn std::fmt::Display| {
            let what = format!("the connection to node {} was lost", self.index);
            Error::new(Code::Unreachable, what).because(why.to_string())
        };
        let frame = exchange(&live.connection, request, RESPONSE_BYTES_MAX)
            .await
            .map_err(|error| match error {
                NoAnswer::NotSent(_) => Failure::NotSent(lost(&error)),
                NoAnswer::Sending(_) | NoAnswer::Waiting(_) => Failure::Unanswered(lost(&error)),
                NoAnswer::TooLong(_) => Failure::AtFault(Error::at_fault(self.index, Misdeed::NotAnAnswer)),
            })?;
        decode_response(frame).map_err(|_| Failure::AtFault(Error::at_fault(self.index, Misdeed::NotAnAnswer)))
    }

    /// Tells errors from answers.
    fn sort(
        &self,
        response: v1::Response,
        fragment: Option<ReleasedFragment>,
        live: Arc<Live>,
    ) -> Result<Answered, Failure> {
        match response.result {
            Some(Answer::Error(error)) => {
                let state_index = error.state_index;
                Err(Failure::Refused {
                    error: Error::from_node(self.index, error),
                    state_index,
                })
            }
            Some(answer) => Ok(Answered { answer, fragment, live }),
            None => Err(Failure::AtFault(Error::at_fault(self.index, Misdeed::NotAnAnswer))),
        }
    }

    /// The open connection, or a new one.
    pub(crate) async fn live(self: &Arc<Self>) -> Result<Arc<Live>, Error> {
        if let Some(live) = self.current() {
            return Ok(live);
        }
        // In a task of its own: whoever asked may lose interest, the connection is still wanted.
        let node = self.clone();
        let dialled = tokio::spawn(async move { node.dial_once().await }).await;
        dialled.unwrap_or_else(|error| Err(Error::new(Code::Internal, format!("dialling was aborted: {error}"))))
    }

    fn current(&self) -> Option<Arc<Live>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.as_ref()
            .filter(|live| live.connection.close_reason().is_none())
            .cloned()
    }

    /// Whether there is a connection, as far as is known.
    pub(crate) fn connected(&self) -> bool {
        self.current().is_some()
    }

    /// Takes a connection out of use; requests on it may still end.
    fn forget(&self, live: &Arc<Live>) {
        let mut slot = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, live)) {
            *slot = None;
        }
    }

    async fn dial_once(self: Arc<Self>) -> Result<Arc<Live>, Error> {
        let mut last = self.dialling.lock().await;
        if let Some(live) = self.current() {
            return Ok(live);
        }
        if let Some((_, error)) = last.as_ref().filter(|(when, _)| when.elapsed() < REDIAL_AFTER) {
            return Err(error.clone());
        }
        match self.dial().await {
            Ok(live) => {
                *last = None;
                *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
                Ok(live)
            }
            Err(error) => {
                *last = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// The roster's address first, then those of the cluster's address that are no node's: whoever is there must prove
    /// to be this node.
    async fn dial(self: &Arc<Self>) -> Result<Arc<Live>, Error> {
        let mut told = match self.dial_host(&self.member.address).await {
            Ok(live) => return Ok(live),
            Err(error) => error,
        };
        let known = |host: &String| self.net.roster.nodes.iter().any(|node| node.address == *host);
        let mut dialling = JoinSet::new();
        for host in self.net.fallback.iter().filter(|host| !known(host)) {
            let (node, host) = (self.clone(), host.clone());
            dialling.spawn(async move { node.dial_host(&host).await });
        }
        while let Some(joined) = dialling.join_next().await {
            match joined.unwrap_or_else(|aborted| Err(Error::new(Code::Internal, aborted.to_string()))) {
                Ok(live) => return Ok(live),
                Err(error) => told.because.extend(error.because.iter().cloned()),
            }
        }
        Err(told)
    }

    async fn dial_host(&self, host: &str) -> Result<Arc<Live>, Error> {
        let net = &self.net;
        let expected = Some(self.member.identity.clone());
        let within = net.options.within(net.options.connect_timeout);
        let dialled = net
            .dialer
            .connect(host, &server_name(self.index), &net.identity, expected, within)
            .await;
        let dialled = dialled.map_err(|error| error.into_error(self.index))?;
        let seen = self.boot_seen.load(Ordering::Acquire);
        let boot = hello::verify(&dialled.hello, &net.roster, self.index, &dialled.tls_key, seen)
            .map_err(|why| hello::refused(self.index, &why))?;
        self.boot_seen.fetch_max(boot.signer.boot_counter, Ordering::AcqRel);
        Ok(Arc::new(Live {
            connection: dialled.connection,
            boot,
            groups: KnownGroups::default(),
            suspected: AtomicBool::new(false),
        }))
    }

    /// Others do not confirm what it said: it is asked last for a while.
    pub(crate) fn distrust(&self) {
        self.pace.failed(self.net.started);
    }

    /// Smaller is asked earlier: nodes without a connection last.
    pub(crate) fn rank(&self) -> (bool, u64) {
        let (failing, pace) = self.pace.rank(self.net.started);
        (failing || self.current().is_none(), pace)
    }

    /// To be compared by [`Self::silent_since`].
    pub(crate) fn last_sign(&self) -> Sign {
        let live = self.current();
        let (received, rtt) = live.as_ref().map_or_else(Default::default, |live| {
            let stats = live.connection.stats();
            (stats.udp_rx.datagrams, stats.path.rtt)
        });
        Sign { live, received, rtt }
    }

    /// Whether nothing at all was heard from the node since then, and no connection came about. One that lives
    /// acknowledges a request within a round trip, long before it answers.
    pub(crate) fn silent_since(&self, sign: &Sign) -> bool {
        match (self.current(), &sign.live) {
            (None, _) => true,
            (Some(now), Some(then)) => Arc::ptr_eq(&now, then) && now.received() == sign.received,
            (Some(_), None) => false,
        }
    }

    /// Opens a connection in the background where there is none, so that no request has to wait for it.
    pub(crate) fn reconnect(self: &Arc<Self>) {
        if self.current().is_some() || self.reconnecting.swap(true, Ordering::AcqRel) {
            return;
        }
        let node = self.clone();
        tokio::spawn(async move {
            // A failure is kept by the node; whoever needs the connection is told.
            let _ = node.clone().dial_once().await;
            node.reconnecting.store(false, Ordering::Release);
        });
    }

    /// A request was given up. If nothing at all is heard from the node for a while, its connection is dead: it was
    /// killed, or cut off, and may be back under the same address.
    fn suspect(self: &Arc<Self>, live: &Arc<Live>, received: u64) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if live.received() != received || live.suspected.swap(true, Ordering::AcqRel) {
            return;
        }
        let (node, live) = (self.clone(), live.clone());
        runtime.spawn(async move {
            tokio::time::sleep(SILENT_FOR.max(live.connection.rtt() * 8)).await;
            if live.received() == received {
                node.forget(&live);
            }
            live.suspected.store(false, Ordering::Release);
        });
    }
}

/// How fast a node answers: a moving average that fades, so that a node that was slow once is tried again.
#[derive(Debug, Default)]
struct Pace {
    /// Round trip of the connection, µs.
    rtt_us: AtomicU64,
    /// Average time to an answer, µs.
    answer_us: AtomicU64,
    /// When that was last measured, ms since the client's start.
    measured_ms: AtomicU64,
    /// Asked last until then, ms since the client's start.
    last_until_ms: AtomicU64,
}

impl Pace {
    fn failed(&self, started: Instant) {
        let until = started.elapsed() + ASKED_LAST_FOR;
        self.last_until_ms.store(millis(until), Ordering::Relaxed);
    }

    fn measured(&self, started: Instant, took: Duration) {
        let (before, now) = (self.faded(started), micros(took));
        let average = if before == 0 { now } else { (before * 7 + now) / 8 };
        self.answer_us.store(average, Ordering::Relaxed);
        self.measured_ms.store(millis(started.elapsed()), Ordering::Relaxed);
    }

    /// It had not answered after that time.
    fn given_up(&self, started: Instant, after: Duration) {
        if micros(after) > self.faded(started) {
            self.measured(started, after);
        }
    }

    /// The average, halved for each second since it was measured.
    fn faded(&self, started: Instant) -> u64 {
        let age_s = millis(started.elapsed()).saturating_sub(self.measured_ms.load(Ordering::Relaxed)) / 1000;
        self.answer_us
            .load(Ordering::Relaxed)
            .checked_shr(u32::try_from(age_s).unwrap_or(u32::MAX))
            .unwrap_or(0)
    }

    fn rank(&self, started: Instant) -> (bool, u64) {
        let failing = millis(started.elapsed()) < self.last_until_ms.load(Ordering::Relaxed);
        (failing, self.faded(started).max(self.rtt_us.load(Ordering::Relaxed)))
    }
}

/// Watches one request. Dropped without an answer (others were faster), it counts as at least that slow.
struct Watch {
    node: Arc<Node>,
    live: Arc<Live>,
    received: u64,
    since: Instant,
    done: bool,
}

impl Watch {
    fn new(node: Arc<Node>, live: Arc<Live>) -> Self {
        let received = live.received();
        Self {
            node,
            live,
            received,
            since: Instant::now(),
            done: false,
        }
    }

    fn answered(mut self) {
        self.done = true;
        let Node { pace, net, .. } = &*self.node;
        pace.rtt_us.store(micros(self.live.connection.rtt()), Ordering::Relaxed);
        pace.measured(net.started, self.since.elapsed());
    }

    fn failed(mut self) {
        self.done = true;
        self.node.pace.failed(self.node.net.started);
        self.node.forget(&self.live);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.done {
            self.node.pace.given_up(self.node.net.started, self.since.elapsed());
            self.node.suspect(&self.live, self.received);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 8)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_failed_is_asked_last_and_a_slow_one_later() {
        let started = Instant::now();
        let (quick, slow, failed) = (Pace::default(), Pace::default(), Pace::default());
        quick.measured(started, Duration::from_millis(1));
        slow.measured(started, Duration::from_millis(20));
        failed.measured(started, Duration::from_micros(10));
        failed.failed(started);
        assert!(quick.rank(started) < slow.rank(started));
        assert!(slow.rank(started) < failed.rank(started));
    }

    #[test]
    fn a_request_that_was_given_up_counts_as_slow() {
        let started = Instant::now();
        let pace = Pace::default();
        pace.given_up(started, Duration::from_millis(2));
        assert!(pace.rank(started).1 >= 2_000);
        pace.given_up(started, Duration::from_micros(1));
        assert!(
            pace.rank(started).1 >= 2_000,
            "given up early says nothing of a slow node"
        );
    }

    #[test]
    fn slowness_fades() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(30)).unwrap();
        let pace = Pace::default();
        pace.answer_us.store(1_000_000, Ordering::Relaxed);
        assert_eq!(pace.rank(long_ago), (false, 0), "measured at the start, 30 s ago");
    }
}
