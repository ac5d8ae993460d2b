//! Health and metrics over plain HTTP: nothing here is secret, and names appear nowhere.

use crate::answers::status;
use crate::clocks;
use crate::crowd::{Crowd, Place, Who};
use crate::member::{Member, Standing};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A log that has not moved for so long has no quorum, ms.
const STILL_MS: u64 = 5_000;

/// Connections at once; each takes a file descriptor and the memory of one request's head.
const CONNECTIONS_MAX: usize = 64;
/// How long one may last, however many requests it brings: longer than a probe waits for its answer.
const LIFETIME: Duration = Duration::from_secs(30);
/// Bytes of a request's head; a longer one is refused. Bodies are not read at all.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// After a failed accept, which means that the process has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until the process ends. Whoever comes last finds room, so that a probe is answered while others dawdle.
pub(crate) async fn serve(member: Arc<Member>, listen: SocketAddr) -> Result<(), std::io::Error> {
    let routes = Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(member);
    let listener = TcpListener::bind(listen).await?;
    let visitors = Crowd::new(CONNECTIONS_MAX, CONNECTIONS_MAX);
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let (held, wanted) = oneshot::channel();
                // Dropping the other's half tells it.
                let (place, _displaced) = visitors.enter(Who::at(from.ip()), held);
                tokio::spawn(visit(stream, routes.clone(), place, wanted));
            }
            Err(reason) => {
                tracing::warn!(%reason, "a connection to the HTTP port was not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves one connection until another needs its place or its time is over.
async fn visit(stream: TcpStream, routes: Router, _place: Place<oneshot::Sender<()>>, wanted: oneshot::Receiver<()>) {
    let serving = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    tokio::select! {
        // Whether the visitor listens to the end is its affair.
        _ = tokio::time::timeout(LIFETIME, serving) => {}
        _ = wanted => {}
    }
}

fn describe(member: &Member) -> String {
    let status = status(member);
    serde_json::json!({
        "node": status.node,
        "state": status.state,
        "reason": status.reason,
        "leader": status.leader,
        "term": status.term,
        "applied": status.applied,
        "boot": status.boot_counter,
        "tls_group": status.tls_group,
        "version": status.software,
    })
    .to_string()
}

fn json(code: StatusCode, body: String) -> impl IntoResponse {
    (code, [(header::CONTENT_TYPE, "application/json")], body)
}

/// 200 while the process does its work, serving or not; 503 once it is sealed, frozen, failed or superseded.
async fn health(State(member): State<Arc<Member>>) -> impl IntoResponse {
    let alive = member.standing().ended().is_none();
    json(
        if alive {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        describe(&member),
    )
}

/// 200 while requests are answered: it serves, knows a leader, and the log moves.
async fn ready(State(member): State<Arc<Member>>) -> impl IntoResponse {
    // The cluster logs clock readings every second: a log that stands still has no quorum behind it.
    let moves = clocks::boot_ms().saturating_sub(member.moved_ms.load(Ordering::Relaxed)) < STILL_MS;
    let serves = member.standing() == Standing::Serving && member.consensus.leader().is_some() && moves;
    json(
        if serves {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        describe(&member),
    )
}

/// Prometheus text exposition format 0.0.4.
async fn metrics(State(member): State<Arc<Member>>) -> impl IntoResponse {
    let status = status(&member);
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let counters = &member.counters;
    let mut text = String::new();
    let mut line = |name: &str, kind: &str, help: &str, value: u64| {
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "# HELP symbolon_{name} {help}\n# TYPE symbolon_{name} {kind}\nsymbolon_{name} {value}\n"
        );
    };
    line(
        "serving",
        "gauge",
        "1 while requests are answered",
        u64::from(member.standing() == Standing::Serving),
    );
    line("applied_index", "gauge", "Last log index applied", status.applied);
    line("accepted_index", "gauge", "Last log index accepted", status.accepted);
    line(
        "purged_index",
        "gauge",
        "Last log index that is purged",
        member.consensus.status().purged.unwrap_or_default(),
    );
    line("raft_term", "gauge", "Raft term", status.term);
    line(
        "is_leader",
        "gauge",
        "1 while this node leads",
        u64::from(status.leader == status.node),
    );
    line("log_time_ms", "gauge", "Log time, ms since 1970", status.log_time_ms);
    line(
        "clock_apart_ms",
        "gauge",
        "How far this node's clock and log time are apart, ms",
        clocks::wall_ms().abs_diff(status.log_time_ms),
    );
    line("connections", "gauge", "Open connections", load(&counters.connections));
    line(
        "requests_total",
        "counter",
        "Requests of clients",
        load(&counters.requests),
    );
    line(
        "commands_total",
        "counter",
        "Commands submitted here",
        load(&counters.commands),
    );
    line("releases_total", "counter", "Fragments released", status.releases);
    line(
        "denials_total",
        "counter",
        "Requests refused by policy or for want of a key",
        status.denials,
    );
    line(
        "malformed_total",
        "counter",
        "Messages that did not parse",
        load(&counters.malformed),
    );
    line(
        "not_fresh_total",
        "counter",
        "Answers withheld because the node lagged",
        load(&counters.not_fresh),
    );
    line(
        "complaints_total",
        "counter",
        "Fragments of this node's that did not check",
        load(&counters.complaints),
    );
    line(
        "fragments_missing",
        "gauge",
        "Versions that this node has lost its fragment of, as last counted",
        status.fragments_missing,
    );
    line(
        "audit_leaves_total",
        "counter",
        "Durable audit records",
        status.audit_size,
    );
    line(
        "audit_groups_total",
        "counter",
        "Groups of decisions that shared one sync",
        load(&counters.groups),
    );
    line(
        "audit_cosigned",
        "gauge",
        "Audit records that enough others have cosigned",
        status.audit_cosigned,
    );
    line(
        "audit_anchored",
        "gauge",
        "Audit records under an anchor in the replicated log",
        status.audit_anchored,
    );
    line(
        "audit_archived",
        "gauge",
        "Audit records that are in the archive and not in the database",
        member.audit.kept_from(),
    );
    line(
        "audit_contradicted",
        "gauge",
        "1 if this node's audit log is not the one that others know",
        u64::from(!status.audit_fault.is_empty()),
    );
    line("syncs_total", "counter", "Syncs of the store", status.syncs);
    // Left out where the disk does not answer: everything else is still told.
    if let Ok(free) = member.store.free_bytes() {
        line("store_free_bytes", "gauge", "Bytes free on the store's disk", free);
    }
    if let Ok(held) = member.store.held() {
        line(
            "store_memtable_bytes",
            "gauge",
            "Memory: what was written and not yet flushed to files",
            held.memtables,
        );
        line(
            "store_cache_bytes",
            "gauge",
            "Memory: blocks of files that were read lately",
            held.cache,
        );
        line(
            "store_reader_bytes",
            "gauge",
            "Memory: index and filter of each open file",
            held.readers,
        );
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
