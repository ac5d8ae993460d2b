//! Two honest nodes that differ never both go on (custody.md, "Chain"): played with 3, 5 and 7 nodes of which fewer than
//! t are malicious, over a network that loses messages until it heals.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panic")]

use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeSet;
use symbolon_crypto::Hash;
use symbolon_crypto::enc::hash_enc;
use symbolon_custody::heads::{Finding, Heads};
use symbolon_wire::v1::Head;

/// The histories that the honest nodes hold, and one that nobody holds. They are one up to the fork.
const A: u8 = b'a';
const B: u8 = b'b';
const NOBODY_S: u8 = b'c';

fn told(history: u8, fork: u64, index: u64) -> Hash {
    let history = if index < fork { 0 } else { history };
    hash_enc(&[&[history], &index.to_be_bytes()])
}

fn head(node: u16, index: u64, history: u8, fork: u64) -> Head {
    Head {
        node: node.into(),
        boot_counter: 1,
        index,
        chain: Bytes::copy_from_slice(&told(history, fork, index)),
        signature: Bytes::new(),
    }
}

/// An honest node: it compares, and passes on what it has until it freezes.
struct Honest {
    node: u16,
    history: u8,
    heads: Heads,
    frozen: bool,
}

impl Honest {
    fn note(&mut self, finding: &Finding) {
        self.frozen |= matches!(finding, Finding::Freeze { .. });
    }

    fn take(&mut self, head: &Head, fork: u64, applied: u64) {
        if head.node == u32::from(self.node) {
            return;
        }
        let history = self.history;
        let own = |index: u64| (index <= applied).then(|| told(history, fork, index));
        let finding = self.heads.take(head.clone(), own);
        self.note(&finding);
    }

    fn catch_up(&mut self, fork: u64, applied: u64) {
        for index in self.heads.waiting(applied) {
            let finding = self.heads.compare(index, &told(self.history, fork, index));
            self.note(&finding);
        }
    }

    fn sends(&self, fork: u64, applied: u64, own_first: bool) -> Vec<Head> {
        if self.frozen {
            return Vec::new();
        }
        let mut heads: Vec<Head> = self.heads.newest().into_iter().map(|told| told.head).collect();
        heads.push(head(self.node, applied, self.history, fork));
        if own_first {
            heads.reverse();
        }
        heads
    }
}

/// What a malicious node tells.
#[derive(Debug, Clone)]
enum Liar {
    /// To each what it believes, in every round; and to all the same head far ahead, which nobody can compare yet.
    Flatters { ahead: Option<u64> },
    /// To each what it believes, to every other one at indices that the rest never hears of.
    Alternates,
    /// Now this and now that, to some: (to, round, history).
    Rambles(Vec<(usize, u64, u8)>),
}

#[derive(Debug, Clone)]
struct Play {
    n: u16,
    /// History of each honest node.
    honest: Vec<u8>,
    liars: Vec<Liar>,
    fork: u64,
    /// Rounds in which messages are lost.
    stormy: u64,
    /// Rounds after them in which none between honest nodes is.
    calm: u64,
    /// (from, to, round)
    lost: BTreeSet<(usize, usize, u64)>,
    own_first: bool,
}

const STORMY_MAX: u64 = 6;

fn liar(honest: usize) -> impl Strategy<Value = Liar> {
    let history = prop_oneof![Just(A), Just(B), Just(NOBODY_S)];
    let ahead = prop_oneof![Just(None), Just(Some(u64::MAX)), (STORMY_MAX + 3..20).prop_map(Some)];
    prop_oneof![
        2 => ahead.prop_map(|ahead| Liar::Flatters { ahead }),
        1 => Just(Liar::Alternates),
        1 => proptest::collection::vec((0..honest, 1..=STORMY_MAX + 2, history), 0..30).prop_map(Liar::Rambles),
    ]
}

fn plays() -> impl Strategy<Value = Play> {
    let sizes = prop_oneof![Just(3_u16), Just(5), Just(7)];
    let honest = sizes.prop_flat_map(|n| (Just(n), n / 2 + 1..=n));
    honest.prop_flat_map(|(n, honest)| {
        let (honest, liars) = (usize::from(honest), usize::from(n - honest));
        let everything = (0..honest).flat_map(|from| (0..honest).map(move |to| (from, to)));
        let everything: BTreeSet<(usize, usize, u64)> = everything
            .flat_map(|(from, to)| (1..=STORMY_MAX).map(move |round| (from, to, round)))
            .collect();
        let lost = prop_oneof![
            Just(everything),
            proptest::collection::btree_set((0..honest, 0..honest, 1..=STORMY_MAX), 0..60),
        ];
        let histories = proptest::collection::vec(prop_oneof![Just(A), Just(B)], honest);
        let liars = proptest::collection::vec(liar(honest), liars);
        let rounds = (0..=STORMY_MAX, 1..=2_u64, 1..5_u64);
        (histories, liars, rounds, lost, any::<bool>()).prop_map(
            move |(honest, liars, (stormy, calm, fork), lost, own_first)| Play {
                n,
                honest,
                liars,
                fork,
                stormy,
                calm,
                lost,
                own_first,
            },
        )
    })
}

impl Play {
    /// What the malicious nodes send to `to` in a round.
    fn lies(&self, to: &Honest, place: usize, round: u64) -> Vec<Head> {
        let mut lies = Vec::new();
        for (node, liar) in (self.honest.len() as u16 + 1..).zip(&self.liars) {
            match liar {
                Liar::Flatters { ahead } => {
                    lies.push(head(node, round, to.history, self.fork));
                    lies.extend(ahead.map(|ahead| head(node, ahead, NOBODY_S, self.fork)));
                }
                Liar::Alternates => {
                    let index = round - (round + place as u64) % 2;
                    lies.push(head(node, index, to.history, self.fork));
                }
                Liar::Rambles(lines) => {
                    let now = lines.iter().filter(|(to, when, _)| *to == place && *when == round);
                    lies.extend(now.map(|(_, _, history)| head(node, round, *history, self.fork)));
                }
            }
        }
        lies
    }

    /// One entry is applied in each round.
    fn run(&self) -> Vec<Honest> {
        let t = self.n / 2 + 1;
        let mut nodes: Vec<Honest> = (1..)
            .zip(&self.honest)
            .map(|(node, history)| Honest {
                node,
                history: *history,
                heads: Heads::new(node, t),
                frozen: false,
            })
            .collect();
        for round in 1..=self.stormy + self.calm {
            for (place, node) in nodes.iter_mut().enumerate() {
                for lie in self.lies(node, place, round) {
                    node.take(&lie, self.fork, round);
                }
                node.catch_up(self.fork, round);
            }
            let sent: Vec<Vec<Head>> = nodes
                .iter()
                .map(|node| node.sends(self.fork, round, self.own_first))
                .collect();
            for (to, node) in nodes.iter_mut().enumerate() {
                for (from, heads) in sent.iter().enumerate() {
                    let lost = round <= self.stormy && self.lost.contains(&(from, to, round));
                    if from != to && !lost {
                        heads.iter().for_each(|head| node.take(head, self.fork, round));
                    }
                }
                node.catch_up(self.fork, round);
            }
        }
        nodes
    }

    /// Whether the histories differ by the last round.
    fn diverges(&self) -> bool {
        self.stormy + self.calm >= self.fork
    }
}

fn goes_on(nodes: &[Honest], history: u8) -> bool {
    nodes.iter().any(|node| node.history == history && !node.frozen)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn two_honest_nodes_that_differ_never_both_go_on(play in plays()) {
        let nodes = play.run();
        prop_assert!(!play.diverges() || !goes_on(&nodes, A) || !goes_on(&nodes, B));
    }

    #[test]
    fn no_honest_node_is_ever_excluded(play in plays()) {
        let honest = play.honest.len() as u16;
        for node in play.run() {
            prop_assert!(node.heads.excluded().all(|excluded| excluded > honest));
        }
    }

    #[test]
    fn nodes_that_agree_all_go_on_where_none_is_malicious(mut play in plays()) {
        play.honest = vec![A; usize::from(play.n)];
        play.liars.clear();
        let nodes = play.run();
        prop_assert!(nodes.iter().all(|node| !node.frozen && node.heads.excluded().next().is_none()));
    }
}

/// The plays can tell: before the network heals, flattered nodes on both histories do go on.
#[test]
fn without_each_other_s_heads_both_go_on() {
    let play = Play {
        n: 3,
        honest: vec![A, B],
        liars: vec![Liar::Flatters { ahead: None }],
        fork: 1,
        stormy: 5,
        calm: 0,
        lost: (1..=5).flat_map(|round| [(0, 1, round), (1, 0, round)]).collect(),
        own_first: false,
    };
    let nodes = play.run();
    assert!(goes_on(&nodes, A) && goes_on(&nodes, B));
    let nodes = Play { calm: 1, ..play }.run();
    assert!(!goes_on(&nodes, A) || !goes_on(&nodes, B));
}
