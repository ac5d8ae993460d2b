//! Three members in one process, on RocksDB.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests"
)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Net, eventually, leader, members, open, propose, put, start};
use symbolon_consensus::frame::Refusal;
use symbolon_consensus::limits::TERMS_AHEAD_MAX;
use symbolon_consensus::testing::{
    append, append_committed, denial, heartbeat, later_leader, offer, other_leader, refusal,
};
use symbolon_consensus::{Consensus, ProposeError, Storage, View};

/// Says what a test has it say. A real member of this index would not know what it has said.
const UPSTART: u64 = 9;

struct Three {
    net: Net,
    directories: Vec<tempfile::TempDir>,
    members: Vec<Consensus>,
}

async fn three() -> Three {
    let net = Net::default();
    let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut running = Vec::new();
    for (node, directory) in (1..).zip(&directories) {
        running.push(start(&net, node, &open(directory.path(), node)).await);
    }
    for member in &running {
        // The first may already have told the others.
        let _ = member.initialize(members(&[1, 2, 3])).await;
    }
    Three {
        net,
        directories,
        members: running,
    }
}

async fn equal_chains(members: &[&Consensus], index: u64) {
    eventually("everybody has applied", || {
        members.iter().all(|m| m.progress().applied() >= index)
    })
    .await;
    let chains: Vec<_> = members.iter().map(|m| m.chain_at(index).unwrap().unwrap()).collect();
    assert!(
        chains.windows(2).all(|pair| pair[0] == pair[1]),
        "chains differ at {index}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_reaches_every_member_and_survives_the_leader() {
    let three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    let first = propose(&all, put("a", "1")).await.unwrap();
    assert_eq!(first.reply, "new");
    equal_chains(&all, first.index).await;
    assert_eq!(all[0].chain_at(first.index).unwrap(), Some(first.chain));

    let dead = leader(&all).await;
    three.net.leave(dead).unwrap().shutdown().await;
    let killed = Instant::now();
    let rest: Vec<&Consensus> = all.into_iter().filter(|m| m.node() != dead).collect();
    let second = propose(&rest, put("a", "2")).await.unwrap();
    // About a second; `make bench` measures it. A slow disk or processor takes a few more.
    assert!(
        killed.elapsed() < Duration::from_secs(10),
        "took {:?}",
        killed.elapsed()
    );
    assert_eq!(second.reply, "replaced");
    equal_chains(&rest, second.index).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_contradicts_what_is_committed_or_names_an_absurd_term_is_refused() {
    let three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    let put = propose(&all, put("a", "1")).await.unwrap();
    equal_chains(&all, put.index).await;
    let leader = leader(&all).await;
    let follower = *all.iter().find(|m| m.node() != leader).unwrap();
    let before = follower.status();
    // Entry 0 is the membership, of term 0; no entry 1 is of a term that has not begun.
    let tell = async |term, entry: (u64, u64)| {
        let reply = follower.receive(leader, append(term, leader, (0, 0), entry)).await;
        refusal(reply).unwrap()
    };
    // A leader of another vote than the one that counts is told so instead: what it sent late may honestly differ.
    let other = all
        .iter()
        .map(|m| m.node())
        .find(|node| ![leader, follower.node()].contains(node));
    let late = append(before.term, other.unwrap(), (0, 0), (0, 1));
    assert_eq!(refusal(follower.receive(other.unwrap(), late).await).unwrap(), None);
    let next = before.term + 1;
    assert_eq!(tell(next, (next, 1)).await, Some(Refusal::Contradicts));
    let absurd = before.term + TERMS_AHEAD_MAX + 1;
    assert_eq!(tell(absurd, (absurd, 1)).await, Some(Refusal::Inconsistent));
    let after = follower.status().term;
    assert!(after < absurd, "in term {after}, {absurd} was claimed");
    goes_on(&all).await;
}

/// Each step is one that others believe, and all together none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_were_led_far_apart_meet_again() {
    let three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    for steps in [2, 5] {
        goes_on(&all).await;
        let victim = all[0];
        for _ in 0..steps {
            let term = victim.status().term + TERMS_AHEAD_MAX;
            let reply = victim
                .receive(UPSTART, append(term, UPSTART, (term, 1 << 40), (term, 1 + (1 << 40))))
                .await;
            let _ = refusal(reply).unwrap();
            eventually("the victim is led there", || victim.status().term >= term).await;
        }
        goes_on(&all).await;
    }
}

/// It went on proposing under its old vote; in debug builds openraft ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_led_into_a_later_term_leads_no_more() {
    let three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    goes_on(&all).await;
    let leads = leader(&all).await;
    let leading = *all.iter().find(|m| m.node() == leads).unwrap();
    let term = leading.status().term + TERMS_AHEAD_MAX + 1;
    let reply = leading.receive(UPSTART, append(term, UPSTART, (term, 1 << 40), (term, 1 + (1 << 40))));
    assert_eq!(refusal(reply.await).unwrap(), Some(Refusal::Inconsistent));
    let proposed = leading.propose(put("a", "1")).await;
    assert!(matches!(proposed, Err(ProposeError::NotLeader { .. })), "{proposed:?}");
    goes_on(&all).await;
}

/// A refusal on the word of a leader that was replaced would be of an old state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_leads_as_long_as_a_quorum_says_so() {
    let three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    goes_on(&all).await;
    let leads = leader(&all).await;
    let (one, rest): (Vec<&Consensus>, Vec<&Consensus>) = all.iter().partition(|m| m.node() == leads);
    assert!(one[0].leads().await);
    assert!(!rest[0].leads().await && !rest[1].leads().await);
    three.net.isolate(leads, &[rest[0].node(), rest[1].node()]);
    assert!(!one[0].leads().await, "it hears nobody");
    assert_eq!(
        one[0].leader(),
        Some(leads),
        "it has not noticed yet that it was replaced"
    );
    let next = leader(&rest).await;
    assert_ne!(next, leads);
    assert!(!one[0].leads().await);
}

/// openraft leads by the word of one follower; another leader of that term would be elected meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_told_that_it_leads_a_later_term_does_not() {
    let three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    goes_on(&all).await;
    let leads = leader(&all).await;
    let (told, rest): (Vec<&Consensus>, Vec<&Consensus>) = all.iter().partition(|m| m.node() == leads);
    let (told, term) = (told[0], told[0].status().term);
    three.net.isolate(leads, &[rest[1].node()]);
    let says = move |_| later_leader(term + 1, leads);
    three.net.answer(rest[0].node(), leads, says);
    eventually("the leader is told of a later term", || told.status().term > term).await;
    assert_eq!(told.leader(), None);
    assert!(matches!(
        told.propose(put("a", "1")).await,
        Err(ProposeError::NotLeader { .. })
    ));
    three.net.heal();
    goes_on(&all).await;
}

/// They made it forget what its own leader had given it, and it never learned that anything was committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_a_leader_that_is_none_do_not_keep_a_member_from_applying() {
    let three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    goes_on(&all).await;
    let (leads, term) = (leader(&all).await, all[0].status().term);
    let victim = (*all.iter().find(|m| m.node() != leads).unwrap()).clone();
    let stale = tokio::spawn(async move {
        loop {
            for said in [term, 1] {
                let reply = victim.receive(UPSTART, heartbeat(said, UPSTART, None)).await;
                assert!(other_leader(reply).unwrap().is_some(), "it is followed");
            }
        }
    });
    for _ in 0..3 {
        let after = propose(&all, put("a", "2")).await.unwrap();
        for member in &all {
            let applied = member.progress().wait_index(after.index, Duration::from_secs(30)).await;
            applied.unwrap_or_else(|late| panic!("member {}: {late}", member.node()));
        }
    }
    assert!(!stale.is_finished(), "{:?}", stale.await);
    stale.abort();
}

/// It answers before the others, who ask their disks, and ended every election.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_says_that_it_has_voted_for_another_ends_no_election() {
    let three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    goes_on(&all).await;
    let liar = leader(&all).await;
    let rest: Vec<&Consensus> = all.iter().copied().filter(|m| m.node() != liar).collect();
    three.net.isolate(liar, &[rest[0].node(), rest[1].node()]);
    for member in &rest {
        three
            .net
            .answer(liar, member.node(), |asked| denial(asked, UPSTART).unwrap());
    }
    let next = leader(&rest).await;
    assert_ne!(next, liar);
    goes_on(&rest).await;
}

/// openraft forgets that the vote was for itself, and that of another leader of the term fits beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_started_again_follows_nobody_else_in_its_term() {
    let mut three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    goes_on(&all).await;
    let (leads, term) = (leader(&all).await, all[0].status().term);
    for member in three.members.drain(..) {
        three.net.leave(member.node());
        member.shutdown().await;
    }
    let directory = three.directories[usize::try_from(leads - 1).unwrap()].path();
    let again = start(&three.net, leads, &open(directory, leads)).await;
    let reply = again.receive(UPSTART, heartbeat(term, UPSTART, None)).await;
    assert_eq!(other_leader(reply).unwrap(), Some((term, leads)));
    assert_ne!(again.leader(), Some(UPSTART));
    assert!(again.status().running);
}

/// openraft believes that a leader never cuts what it gave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_contradicts_what_it_gave_itself_is_refused() {
    let three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    for heartbeat_first in [false, true] {
        let (victim, before, written) = follower_alone(&three, &all).await;
        let (term, last) = (before + 3, (before, written));
        let (one, two) = ((term, written + 1), (term, written + 2));
        let first = heartbeat_first.then(|| heartbeat(term, UPSTART, Some(last)));
        let given = [(last, one), (one, two), (last, one)];
        let given = given.map(|(previous, entry)| append(term, UPSTART, previous, entry));
        for frame in first.into_iter().chain(given) {
            assert_eq!(refusal(victim.receive(UPSTART, frame).await).unwrap(), None);
        }
        let other = append(term, UPSTART, last, (before + 1, written + 1));
        let refused = refusal(victim.receive(UPSTART, other).await).unwrap();
        assert_eq!(refused, Some(Refusal::Contradicts));
        three.net.heal();
    }
    goes_on(&all).await;
}

/// A snapshot on its way would end, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_leader_that_is_followed_may_offer_a_snapshot() {
    let three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    goes_on(&all).await;
    let (leads, term) = (leader(&all).await, all[0].status().term);
    let victim = *all.iter().find(|m| m.node() != leads).unwrap();
    for said in [term, term + 1] {
        let refused = refusal(victim.receive(UPSTART, offer(said, UPSTART, b"word")).await).unwrap();
        assert_eq!(refused, Some(Refusal::Inconsistent), "term {said}");
    }
    assert_eq!(
        refusal(victim.receive(leads, offer(term, leads, b"word")).await).unwrap(),
        None
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_makes_up_terms_ends_few_leaders() {
    let three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    let before = propose(&all, put("a", "1")).await.unwrap();
    equal_chains(&all, before.index).await;
    let (mut refused, begun) = (0, all[0].status().term);
    for _ in 0..100 {
        let term = all[0].status().term + 1;
        let last = (before.term, before.index);
        let reply = all[0].receive(UPSTART, append(term, UPSTART, last, (term, before.index + 1)));
        refused += u32::from(refusal(reply.await).unwrap() == Some(Refusal::TooManyTerms));
    }
    assert!(refused > 80, "{refused} of 100 were refused");
    assert!(
        all[0].status().term < begun + 20,
        "terms {begun} to {}",
        all[0].status().term
    );
    goes_on(&all).await;
}

/// Writes once more and cuts a follower off that has it: that follower, and term and index of its last entry. Were another
/// leader elected before the net is healed, what a test gives the follower would contradict what that leader wrote.
async fn follower_alone<'a>(three: &Three, all: &[&'a Consensus]) -> (&'a Consensus, u64, u64) {
    loop {
        let (term, index) = goes_on(all).await;
        let leads = leader(all).await;
        let follower = *all.iter().find(|m| m.node() != leads).unwrap();
        let others = all.iter().map(|m| m.node()).filter(|node| *node != follower.node());
        three.net.isolate(follower.node(), &others.collect::<Vec<_>>());
        let now = follower.status();
        if (now.leader, now.term, now.last) == (Some(leads), term, index) {
            return (follower, term, index);
        }
        three.net.heal();
    }
}

/// Writes once more, also where an outcome is unknown because the leader was ended meanwhile: term and index, once everybody
/// has it. Whoever spent its terms is heard again after ten seconds.
async fn goes_on(members: &[&Consensus]) -> (u64, u64) {
    let proposed = async {
        loop {
            for member in members {
                if let Ok(after) = member.propose(put("a", "2")).await {
                    return after;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let after = tokio::time::timeout(Duration::from_secs(30), proposed).await.unwrap();
    for member in members {
        let applied = member.progress().wait_index(after.index, Duration::from_secs(30)).await;
        applied.unwrap_or_else(|late| panic!("member {}: {late}", member.node()));
    }
    equal_chains(members, after.index).await;
    (after.term, after.index)
}

/// Of a later term than all that is committed, they would win it elections, and nobody could follow it then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_given_entries_nobody_elected_is_led_back() {
    let three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    for given in [1, 5] {
        let (victim, before, written) = follower_alone(&three, &all).await;
        let (term, mut last) = (before + 3, (before, written));
        for _ in 0..given {
            let next = (term, last.1 + 1);
            let reply = victim.receive(UPSTART, append(term, UPSTART, last, next)).await;
            assert_eq!(refusal(reply).unwrap(), None);
            last = next;
        }
        three.net.heal();
        goes_on(&all).await;
    }
}

/// openraft takes it for applied soon, as it is: entries were skipped, changed although they were committed, or never
/// applied again, and the highest number there is ended the member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_made_up_end_of_what_is_committed_skips_and_changes_nothing() {
    let three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    // Terms and indices on from the last entry's, but for the ends of the scale.
    for (terms, index) in [(0, Ok(4)), (0, Ok(1_000)), (0, Err(u64::MAX)), (1, Err(1)), (1, Ok(1))] {
        let (term, written) = goes_on(&all).await;
        let leads = leader(&all).await;
        let victim = *all.iter().find(|m| m.node() != leads).unwrap();
        let last = (term, written);
        let commit = (term + terms, index.map_or_else(|end| end, |on: u64| written + on));
        let frame = append_committed(term + 1, UPSTART, last, (term + 1, written + 1), commit);
        let replied = refusal(victim.receive(UPSTART, frame).await).unwrap();
        assert!(matches!(replied, None | Some(Refusal::Contradicts)), "{replied:?}");
        let other = append(term + 1, UPSTART, (term, written - 1), (term + 1, written));
        let replied = refusal(victim.receive(UPSTART, other).await).unwrap();
        assert_eq!(replied, Some(Refusal::Contradicts), "after {commit:?}");
        for _ in 0..6 {
            goes_on(&all).await;
        }
    }
}

/// An entry was compared with what is committed while another frame, or the member's own leading, committed more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_contradict_those_being_committed_do_not_end_a_member() {
    let three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    for micros in [300, 900] {
        goes_on(&all).await;
        let leads = leader(&all).await;
        let leading = *all.iter().find(|m| m.node() == leads).unwrap();
        let (last, term) = (leading.progress().applied(), leading.status().term);
        let against = async {
            // Into the middle of the proposal's way; where that is cannot be waited for.
            tokio::time::sleep(Duration::from_micros(micros)).await;
            let frame = append(term + 1, UPSTART, (term, last), (term + 1, last + 1));
            leading.receive(UPSTART, frame).await
        };
        let _ = tokio::join!(leading.propose(put("a", "2")), against);
    }
    let (follower, term, last) = follower_alone(&three, &all).await;
    let first = (term + 1, last + 1);
    let told = follower.receive(UPSTART, append(term + 2, UPSTART, (term, last), first));
    assert_eq!(refusal(told.await).unwrap(), None);
    let commits = append_committed(term + 2, UPSTART, first, (term + 1, last + 2), first);
    let contradicts = append(term + 2, UPSTART, (term, last), (term + 2, last + 1));
    let (_, refused) = tokio::join!(
        follower.receive(UPSTART, commits),
        follower.receive(UPSTART, contradicts)
    );
    assert_eq!(refusal(refused).unwrap(), Some(Refusal::Contradicts));
    for member in &all {
        let ended = tokio::time::timeout(Duration::from_millis(100), member.ended()).await;
        assert!(ended.is_err(), "member {} ended", member.node());
    }
}

/// A write that was handed to the leader is handed on then (`node/src/submit.rs`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_notices_when_its_leader_is_gone_and_not_before() {
    let three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    propose(&all, put("a", "1")).await.unwrap();
    let dead = leader(&all).await;
    let rest: Vec<&Consensus> = all.into_iter().filter(|m| m.node() != dead).collect();
    let follower = rest[0];
    let leaves = tokio::time::timeout(Duration::from_secs(1), follower.leader_left(dead)).await;
    assert!(leaves.is_err(), "it leads");
    three.net.leave(dead).unwrap().shutdown().await;
    let leaves = tokio::time::timeout(Duration::from_secs(30), follower.leader_left(dead)).await;
    assert!(leaves.is_ok(), "it was gone for half a minute");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_member_catches_up_and_agrees_on_the_chain() {
    let mut three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    let first = propose(&all, put("a", "1")).await.unwrap();
    equal_chains(&all, first.index).await;

    let down = three.members.remove(2);
    three.net.leave(down.node());
    down.shutdown().await;
    drop(down);
    let rest: Vec<&Consensus> = three.members.iter().collect();
    for n in 0..50 {
        propose(&rest, put("b", &n.to_string())).await.unwrap();
    }
    let store = open(three.directories[2].path(), 3);
    let back = start(&three.net, 3, &store).await;
    let last = propose(&rest, put("c", "x")).await.unwrap();
    equal_chains(&[rest[0], rest[1], &back], last.index).await;
    assert_eq!(store.view().get(b"b").unwrap().unwrap(), "49");
    assert_eq!(
        store
            .reader()
            .name_get(common::NAME_KIND, common::PARENT, b"c")
            .unwrap()
            .unwrap(),
        "c"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_store_fails_ends_and_says_why() {
    let disk = symbolon_store::MemoryDisk::new();
    let (net, store) = (Net::default(), common::open_in_memory(&disk, 1));
    let member = start(&net, 1, &store).await;
    member.initialize(members(&[1])).await.unwrap();
    propose(&[&member], put("a", "1")).await.unwrap();
    disk.set_syncs_fail(true);
    assert!(member.propose(put("b", "2")).await.is_err());
    let ended = tokio::time::timeout(Duration::from_secs(30), member.ended()).await;
    assert!(ended.is_ok(), "agreement goes on without its store");
    assert!(member.fault().is_some());
}

/// A reader who waited for a revocation would be judged by the rights before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_an_index_as_applied_before_its_state_is_published() {
    let disk = symbolon_store::MemoryDisk::new();
    let (net, store) = (Net::default(), common::open_in_memory(&disk, 1));
    let keys = common::Keys::default();
    let (progress, published) = (Arc::clone(&keys.progress), Arc::clone(&keys.published));
    let early = Arc::clone(&keys.seen_before_published);
    let word = Arc::new(common::Word(b"word"));
    let member = common::start_with(&net, common::settings(1), &store, Box::new(keys), word).await;
    assert!(progress.set(member.progress()).is_ok());
    member.initialize(members(&[1])).await.unwrap();
    for value in 0..20 {
        propose(&[&member], put("a", &value.to_string())).await.unwrap();
    }
    assert!(*published.lock().unwrap() >= 20);
    assert_eq!(*early.lock().unwrap(), Vec::<u64>::new());
}

/// What a restored backup, or a lying follower, looks like to the leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_has_less_than_it_had_is_sent_what_it_lacks_and_the_leader_goes_on() {
    let mut three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    propose(&all, put("a", "1")).await.unwrap();
    let leads = usize::try_from(leader(&all).await).unwrap() - 1;
    let follower = if leads == 2 { 1 } else { 2 };
    let node = u64::try_from(follower).unwrap() + 1;
    let stop = async |net: &Net, member: Consensus| {
        net.leave(member.node());
        member.shutdown().await;
    };

    let down = three.members.remove(follower);
    stop(&three.net, down).await;
    let (kept, old) = (three.directories[follower].path(), tempfile::tempdir().unwrap());
    let copied = old.path().join("copy");
    drop(open(kept, node));
    copy_folder(kept, &copied);
    let store = open(kept, node);
    let back = start(&three.net, node, &store).await;
    let rest: Vec<&Consensus> = three.members.iter().collect();
    let mut last = 0;
    for n in 0..20 {
        last = propose(&rest, put("b", &n.to_string())).await.unwrap().index;
    }
    equal_chains(&[rest[0], rest[1], &back], last).await;
    stop(&three.net, back).await;
    drop(store);

    let store = open(&copied, node);
    let restored = start(&three.net, node, &store).await;
    let last = propose(&rest, put("c", "x")).await.unwrap();
    equal_chains(&[rest[0], rest[1], &restored], last.index).await;
    assert_eq!(store.view().get(b"b").unwrap().unwrap(), "19");
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_stops_as_a_whole_goes_on_where_it_was() {
    let three = three().await;
    let all: Vec<&Consensus> = three.members.iter().collect();
    let before = propose(&all, put("a", "1")).await.unwrap();
    let Three {
        net,
        directories,
        members,
    } = three;
    for member in members {
        net.leave(member.node());
        member.shutdown().await;
    }
    let mut again = Vec::new();
    for (node, directory) in (1..).zip(&directories) {
        again.push(start(&net, node, &open(directory.path(), node)).await);
    }
    let all: Vec<&Consensus> = again.iter().collect();
    let after = propose(&all, put("a", "2")).await.unwrap();
    assert_eq!(after.reply, "replaced");
    equal_chains(&all, after.index).await;
    assert_eq!(all[0].chain_at(before.index).unwrap(), Some(before.chain));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_proposals_at_once_share_syncs() {
    let net = Net::default();
    let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let stores: Vec<_> = (1..).zip(&directories).map(|(node, d)| open(d.path(), node)).collect();
    let mut running = Vec::new();
    for (node, store) in (1..).zip(&stores) {
        running.push(start(&net, node, store).await);
    }
    running[0].initialize(members(&[1, 2, 3])).await.unwrap();
    let all: Vec<&Consensus> = running.iter().collect();
    propose(&all, put("warm", "up")).await.unwrap();
    let at = leader(&all).await;
    let leading = running[usize::try_from(at - 1).unwrap()].clone();
    let before = stores[0].syncs();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..1000 {
        let leading = leading.clone();
        tasks.spawn(async move {
            leading
                .propose(put(&format!("key-{n}"), &"v".repeat(1024)))
                .await
                .unwrap()
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let syncs = stores[0].syncs() - before;
    assert!(syncs < 500, "1,000 writes took {syncs} syncs");
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
