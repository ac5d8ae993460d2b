//! The arrows of layout.md: which of our crates may depend on which. Dependencies point down only.
//!
//! Only dependencies that are linked into what we ship count. A crate's tests may look upwards.

use std::collections::BTreeSet;

use crate::Finding;

/// Every crate of the workspace and those of ours that it may depend on.
pub const ARROWS: &[(&str, &[&str])] = &[
    // Seeded bugs, in builds with the feature `sabotage` alone.
    ("symbolon-sabotage", &[]),
    ("symbolon-crypto", &["symbolon-sabotage"]),
    ("symbolon-hsm", &["symbolon-crypto"]),
    ("symbolon-wire", &["symbolon-crypto"]),
    // What clients and nodes do alike on a stream; knows nothing of what is sent.
    ("symbolon-quic", &[]),
    ("symbolon-policy", &["symbolon-crypto", "symbolon-sabotage"]),
    (
        "symbolon-state",
        &[
            "symbolon-policy",
            "symbolon-wire",
            "symbolon-crypto",
            "symbolon-sabotage",
        ],
    ),
    (
        "symbolon-custody",
        &[
            "symbolon-state",
            "symbolon-policy",
            "symbolon-wire",
            "symbolon-crypto",
            "symbolon-sabotage",
        ],
    ),
    // What openraft records in; nothing else of ours uses it.
    ("base2histogram", &[]),
    ("symbolon-consensus", &["symbolon-crypto", "symbolon-sabotage"]),
    (
        "symbolon-store",
        &["symbolon-consensus", "symbolon-crypto", "symbolon-sabotage"],
    ),
    (
        "symbolon-node",
        &[
            "symbolon-custody",
            "symbolon-store",
            "symbolon-consensus",
            "symbolon-hsm",
            "symbolon-state",
            "symbolon-policy",
            "symbolon-wire",
            "symbolon-quic",
            "symbolon-crypto",
            "symbolon-sabotage",
        ],
    ),
    (
        "symbolon-client",
        &["symbolon-wire", "symbolon-quic", "symbolon-crypto", "symbolon-sabotage"],
    ),
    // `symbolon dev` and `symbolon demo` start local clusters.
    (
        "symbolon-cli",
        &[
            "symbolon-client",
            "symbolon-policy",
            "symbolon-wire",
            "symbolon-crypto",
            "symbolon-devcluster",
        ],
    ),
    // It makes the tokens of the nodes that it starts; the nodes themselves are processes, not a library.
    (
        "symbolon-devcluster",
        &[
            "symbolon-client",
            "symbolon-policy",
            "symbolon-wire",
            "symbolon-crypto",
            "symbolon-hsm",
        ],
    ),
    // The whole cluster but for sockets, tokens and system clocks, on the in-memory twin of the store; of the daemon
    // what runs without them: state machine, boots (`vouch`), `fences`, `unlogged`.
    (
        "symbolon-sim",
        &[
            "symbolon-linear",
            "symbolon-node",
            "symbolon-custody",
            "symbolon-consensus",
            "symbolon-store",
            "symbolon-state",
            "symbolon-policy",
            "symbolon-wire",
            "symbolon-crypto",
            "symbolon-sabotage",
        ],
    ),
    // Checks recorded histories; knows nothing of what made them.
    ("symbolon-linear", &[]),
    // Makes disks and tokens misbehave, from outside the process under test.
    ("symbolon-faults", &[]),
    (
        "symbolon-softhsm-tests",
        &["symbolon-hsm", "symbolon-crypto", "symbolon-faults"],
    ),
    // Measures anything; nothing depends on it.
    (
        "symbolon-benches",
        &[
            "symbolon-devcluster",
            "symbolon-client",
            "symbolon-custody",
            "symbolon-store",
            "symbolon-consensus",
            "symbolon-state",
            "symbolon-policy",
            "symbolon-hsm",
            "symbolon-wire",
            "symbolon-crypto",
        ],
    ),
    // Feeds any bytes to whatever takes bytes from outside; nothing depends on it.
    (
        "symbolon-fuzz",
        &[
            "symbolon-client",
            "symbolon-node",
            "symbolon-custody",
            "symbolon-consensus",
            "symbolon-state",
            "symbolon-policy",
            "symbolon-wire",
            "symbolon-crypto",
        ],
    ),
    // It reads the list.
    ("symbolon-repo-tests", &["symbolon-sabotage"]),
];

/// Crates that must not have another in what they are built from, at any depth, and why.
pub const KEPT_OUT: &[(&str, &str, &str)] = &[
    ("symbolon-client", "cedar-policy", "clients ask, nodes decide"),
    ("symbolon-consensus", "cedar-policy", "consensus agrees on opaque bytes"),
    ("symbolon-store", "cedar-policy", "the store decides nothing"),
    (
        "symbolon-crypto",
        "librocksdb-sys",
        "`make check` builds without RocksDB",
    ),
    ("symbolon-hsm", "librocksdb-sys", "`make check` builds without RocksDB"),
    ("symbolon-wire", "librocksdb-sys", "`make check` builds without RocksDB"),
    (
        "symbolon-policy",
        "librocksdb-sys",
        "`make check` builds without RocksDB",
    ),
    (
        "symbolon-state",
        "librocksdb-sys",
        "`make check` builds without RocksDB",
    ),
    (
        "symbolon-custody",
        "librocksdb-sys",
        "`make check` builds without RocksDB",
    ),
    (
        "symbolon-consensus",
        "librocksdb-sys",
        "`make check` builds without RocksDB",
    ),
    (
        "symbolon-client",
        "librocksdb-sys",
        "`make check` builds without RocksDB",
    ),
    ("symbolon-cli", "librocksdb-sys", "`make check` builds without RocksDB"),
    (
        "symbolon-repo-tests",
        "librocksdb-sys",
        "`make check` builds without RocksDB",
    ),
    (
        "symbolon-softhsm-tests",
        "librocksdb-sys",
        "`make check` builds without RocksDB",
    ),
];

/// One dependency: the crate and what it depends on.
pub type Edge = (String, String);

/// Checks the edges between the crates `members` against the table.
#[must_use]
pub fn check(members: &[String], edges: &[Edge]) -> Vec<Finding> {
    let listed: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let unlisted = members
        .iter()
        .filter(|member| !listed.contains(member.as_str()))
        .map(|member| Finding::new(member, "is not in the table of arrows (repo-tests/src/arrows.rs)"));
    let upwards = edges
        .iter()
        .filter(|(from, to)| members.contains(from) && members.contains(to) && !may(from, to))
        .map(|(from, to)| Finding::new(from, format!("may not depend on {to} (layout.md)")));
    unlisted.chain(upwards).collect()
}

fn may(from: &str, to: &str) -> bool {
    ARROWS.iter().any(|(name, below)| *name == from && below.contains(&to))
}

/// Checks what is kept out: `edges` are those of all packages, ours and others'.
#[must_use]
pub fn check_kept_out(edges: &[Edge]) -> Vec<Finding> {
    KEPT_OUT
        .iter()
        .filter(|(from, to, _)| reaches(edges, from, to))
        .map(|(from, to, why)| Finding::new(*from, format!("is built from {to} at some depth, but {why}")))
        .collect()
}

fn reaches(edges: &[Edge], from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(next) = open.pop() {
        if next == to {
            return true;
        }
        if seen.insert(next) {
            open.extend(
                edges
                    .iter()
                    .filter(|(above, _)| above == next)
                    .map(|(_, below)| below.as_str()),
            );
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str) -> Edge {
        (from.to_owned(), to.to_owned())
    }

    fn members() -> Vec<String> {
        ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    #[test]
    fn the_drawn_arrows_pass() {
        let drawn: Vec<Edge> = ARROWS
            .iter()
            .flat_map(|(from, below)| below.iter().map(|to| edge(from, to)))
            .collect();
        assert_eq!(check(&members(), &drawn), []);
    }

    #[test]
    fn no_arrow_points_back() {
        for (from, below) in ARROWS {
            for to in *below {
                assert!(!may(to, from), "{from} and {to} may depend on each other");
            }
        }
    }

    #[test]
    fn an_arrow_upwards_is_found() {
        for (from, to) in [
            ("symbolon-crypto", "symbolon-wire"),
            ("symbolon-client", "symbolon-state"),
            ("symbolon-consensus", "symbolon-wire"),
            ("symbolon-hsm", "symbolon-node"),
        ] {
            let found = check(&members(), &[edge(from, to)]);
            assert_eq!(
                found,
                [Finding::new(from, format!("may not depend on {to} (layout.md)"))]
            );
        }
    }

    #[test]
    fn a_crate_missing_from_the_table_is_found() {
        let found = check(&["symbolon-new".to_owned()], &[]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "symbolon-new");
    }

    #[test]
    fn a_crate_of_others_is_no_arrow() {
        assert_eq!(check(&members(), &[edge("symbolon-crypto", "sha2")]), []);
    }

    #[test]
    fn what_is_kept_out_is_found_at_any_depth() {
        let edges = [
            edge("symbolon-client", "helper"),
            edge("helper", "deeper"),
            edge("deeper", "cedar-policy"),
        ];
        let found = check_kept_out(&edges);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "symbolon-client");
        assert_eq!(check_kept_out(&edges[..2]), []);
    }

    #[test]
    fn dependencies_in_a_circle_end() {
        let circle = [edge("symbolon-client", "a"), edge("a", "b"), edge("b", "a")];
        assert_eq!(check_kept_out(&circle), []);
    }
}
