//! Snapshots: marked, vouched for, transferred, refused.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests"
)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{
    KIND_MARK, Keys, MANY, NAME_KIND, Net, PARENT, Word, certainly, eventually, many, mark, members, open,
    open_in_memory, propose, put, settings, start, start_with,
};
use symbolon_consensus::frame::Refusal;
use symbolon_consensus::limits::{VITAL_BYTES_MAX, VITAL_KIB_BURST};
use symbolon_consensus::testing::{append, append_committed, last_chunk, offer, offer_empty, refusal};
use symbolon_consensus::{
    Committed, Consensus, Fatal, Outcome, Payload, ProposeError, Records, SnapshotGuard, SnapshotMeta, SnapshotRefused,
    StateMachine, Storage, View,
};
use symbolon_store::{MemoryDisk, Store};

/// Says what a test has it say.
const UPSTART: u64 = 9;

struct Two {
    net: Net,
    _directories: Vec<tempfile::TempDir>,
    third: tempfile::TempDir,
    members: Vec<Consensus>,
    stores: Vec<Store>,
}

/// Two of three members run.
async fn two() -> Two {
    let net = Net::default();
    let directories: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let stores: Vec<_> = (1..).zip(&directories).map(|(node, d)| open(d.path(), node)).collect();
    let mut running = Vec::new();
    for (node, store) in (1..).zip(&stores) {
        running.push(start(&net, node, store).await);
    }
    running[0].initialize(members(&[1, 2, 3])).await.unwrap();
    Two {
        net,
        _directories: directories,
        third: tempfile::tempdir().unwrap(),
        members: running,
        stores,
    }
}

/// They hold `records` records, and have purged their log behind a snapshot.
async fn two_ahead(records: usize) -> Two {
    let two = two().await;
    go_ahead(&two, records).await;
    two
}

async fn go_ahead(two: &Two, records: usize) {
    let all: Vec<&Consensus> = two.members.iter().collect();
    let mut tasks = tokio::task::JoinSet::new();
    certainly(&all, put("first", "value")).await;
    for n in 0..records {
        let running = two.members.clone();
        tasks.spawn(async move {
            let all: Vec<&Consensus> = running.iter().collect();
            certainly(&all, put(&format!("key-{n:05}"), &"v".repeat(500))).await
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let marked = certainly(&all, mark()).await;
    for n in 0..10 {
        certainly(&all, put("after", &n.to_string())).await;
    }
    for member in &two.members {
        let mut marks = member.marks();
        let described = marks.wait_for(|meta| meta.as_ref().is_some_and(|meta| meta.index == marked.index));
        tokio::time::timeout(Duration::from_secs(60), described)
            .await
            .unwrap()
            .unwrap();
        member.adopt_mark().await.unwrap();
        eventually("the log is purged", || member.status().purged.is_some()).await;
        assert_eq!(member.status().snapshot, Some(marked.index));
    }
}

/// The third takes part, then hears nothing while the others go ahead: it, and term and index of its last entry.
async fn left_behind(
    two: &Two,
    store: &Store,
    machine: Box<dyn StateMachine>,
    guard: Arc<Checks>,
) -> (Consensus, (u64, u64)) {
    let third = start_with(&two.net, settings(3), store, machine, guard).await;
    let all: Vec<&Consensus> = two.members.iter().collect();
    loop {
        let put = certainly(&all, put("first", "value")).await;
        eventually("the third has it", || third.progress().applied() >= put.index).await;
        two.net.isolate(3, &[1, 2]);
        if third.status().last == put.index {
            go_ahead(two, 5).await;
            return (third, (put.term, put.index));
        }
        two.net.heal();
    }
}

/// Takes what is vouched for by the word, once the others agree with what it would replace.
#[derive(Default)]
struct Checks {
    agreed: AtomicBool,
    asked: Mutex<Vec<u64>>,
}

impl SnapshotGuard for Checks {
    fn accept(&self, meta: &SnapshotMeta, evidence: &[u8]) -> Result<(), SnapshotRefused> {
        Word(b"word").accept(meta, evidence)
    }

    fn evidence(&self, meta: &SnapshotMeta, to: u64) -> Option<Bytes> {
        Word(b"word").evidence(meta, to)
    }

    fn replaceable(&self, applied: u64) -> bool {
        self.asked.lock().unwrap().push(applied);
        self.agreed.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_agree_on_the_state_root_of_a_mark() {
    let two = two_ahead(200).await;
    let metas: Vec<_> = two
        .members
        .iter()
        .map(|m| m.marks().borrow().clone().unwrap())
        .collect();
    assert_eq!(metas[0], metas[1]);
    // "after" was written behind the mark.
    assert_eq!(metas[0].records, 201);
    assert_eq!(two.members[0].chain_at(metas[0].index).unwrap(), Some(metas[0].chain));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lags_behind_the_log_takes_over_a_snapshot() {
    let two = two_ahead(3000).await;
    let store = open(two.third.path(), 3);
    let keys = Keys::default();
    let (applied, restored) = (Arc::clone(&keys.applied), Arc::clone(&keys.restored));
    let third = start_with(&two.net, settings(3), &store, Box::new(keys), Arc::new(Word(b"word"))).await;
    let last = certainly(&two.members.iter().collect::<Vec<_>>(), put("last", "x")).await;
    eventually("the third has caught up", || third.progress().applied() >= last.index).await;

    let mark = two.members[0].marks().borrow().clone().unwrap();
    assert_eq!(*restored.lock().unwrap(), [0, mark.index]);
    assert!(
        *applied.lock().unwrap().first().unwrap() > mark.index,
        "entries in the snapshot are not applied again"
    );
    assert_eq!(third.chain_at(last.index).unwrap(), Some(last.chain));
    let (ours, theirs) = (store.view(), two.stores[0].view());
    assert_eq!(
        ours.scan(b"", None, usize::MAX).unwrap(),
        theirs.scan(b"", None, usize::MAX).unwrap()
    );
    assert_eq!(
        ours.name_get(NAME_KIND, PARENT, b"key-00017").unwrap().unwrap(),
        "key-00017"
    );
    assert_eq!(
        ours.names(NAME_KIND, PARENT, Some(b"key-02990"), 5).unwrap(),
        theirs.names(NAME_KIND, PARENT, Some(b"key-02990"), 5).unwrap()
    );
    drop((ours, theirs));

    // What it has taken over survives a restart, and it can pass it on.
    two.net.leave(3);
    third.shutdown().await;
    drop((third, store));
    let store = open(two.third.path(), 3);
    assert_eq!(store.view().get(b"key-00017").unwrap().unwrap(), "v".repeat(500));
    let third = start(&two.net, 3, &store).await;
    eventually("it is where it was", || third.progress().applied() >= last.index).await;
    eventually("its snapshot is known", || third.status().snapshot == Some(mark.index)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_entries_are_purged_behind_a_mark_although_they_are_few() {
    let (net, directory) = (Net::default(), tempfile::tempdir().unwrap());
    let store = open(directory.path(), 1);
    let mut settings = settings(1);
    (settings.log_kept, settings.log_bytes_kept) = (10_000, 1024 * 1024);
    let alone = start_with(
        &net,
        settings,
        &store,
        Box::new(Keys::default()),
        Arc::new(Word(b"word")),
    )
    .await;
    alone.initialize(members(&[1])).await.unwrap();
    let mut marked = 0;
    for n in 0..2 {
        for _ in 0..40 {
            propose(&[&alone], put(&n.to_string(), &"v".repeat(60 * 1024)))
                .await
                .unwrap();
        }
        marked = propose(&[&alone], mark()).await.unwrap().index;
        let mut marks = alone.marks();
        let described = marks.wait_for(|meta| meta.as_ref().is_some_and(|meta| meta.index == marked));
        tokio::time::timeout(Duration::from_secs(60), described)
            .await
            .unwrap()
            .unwrap();
        alone.adopt_mark().await.unwrap();
    }
    // The first mark, and all that was a mebibyte behind it.
    eventually("the log is purged", || {
        alone.status().purged.is_some_and(|upto| upto > 20)
    })
    .await;
    assert!(alone.status().purged.unwrap() < marked - 10, "what is recent stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_frees_room_is_agreed_on_while_all_disks_are_full() {
    let net = Net::default();
    let disks = [MemoryDisk::new(), MemoryDisk::new()];
    let mut both = Vec::new();
    for (node, disk) in (1..).zip(&disks) {
        let mut settings = settings(node);
        settings.vital = &[KIND_MARK];
        let store = open_in_memory(disk, node);
        both.push(
            start_with(
                &net,
                settings,
                &store,
                Box::new(Keys::default()),
                Arc::new(Word(b"word")),
            )
            .await,
        );
    }
    both[0].initialize(members(&[1, 2])).await.unwrap();
    let all: Vec<&Consensus> = both.iter().collect();
    certainly(&all, put("a", "1")).await;
    for disk in &disks {
        disk.set_reserve_used(true);
    }
    let leading = *all.iter().find(|m| m.leader() == Some(m.node())).unwrap();
    let no_room = |refused| matches!(refused, Err(ProposeError::NoRoom(_)));
    assert!(no_room(leading.propose(put("a", "2")).await));
    let large = Payload {
        bytes: vec![0; VITAL_BYTES_MAX + 1].into(),
        ..mark()
    };
    assert!(no_room(leading.propose(large).await));
    let marked = leading.propose(mark()).await.unwrap();
    for member in all {
        let progress = member.progress();
        progress
            .wait_index(marked.index, Duration::from_secs(60))
            .await
            .unwrap();
    }
}

/// They need no room to be taken, each of them; all together they would take the last of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_frees_room_is_taken_as_often_as_an_honest_leader_sends_it() {
    let (net, disk) = (Net::default(), MemoryDisk::new());
    let member = start(&net, 1, &open_in_memory(&disk, 1)).await;
    member.initialize(members(&[1, UPSTART])).await.unwrap();
    disk.set_reserve_used(true);
    let mut taken = 0;
    let attempts = u64::from(VITAL_KIB_BURST) * 2;
    for index in 1..=attempts {
        let previous = if index == 1 { (0, 0) } else { (1, index - 1) };
        let reply = member.receive(UPSTART, append(9, UPSTART, previous, (1, index))).await;
        match refusal(reply).unwrap() {
            None => taken += 1,
            Some(refused) => {
                assert_eq!(refused, Refusal::NoRoom);
                break;
            }
        }
    }
    assert!(taken >= VITAL_KIB_BURST, "{taken} were taken");
    assert!(u64::from(taken) < attempts, "there was no end");
    assert_eq!(member.status().last, u64::from(taken));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_nobody_vouches_for_is_refused_and_changes_nothing() {
    let two = two_ahead(50).await;
    let store = open(two.third.path(), 3);
    let third = start_with(
        &two.net,
        settings(3),
        &store,
        Box::new(Keys::default()),
        Arc::new(Word(b"other")),
    )
    .await;
    eventually("a refusal", || third.last_snapshot_refusal().is_some()).await;
    assert!(matches!(
        third.last_snapshot_refusal(),
        Some(SnapshotRefused::NotVouchedFor { .. })
    ));
    assert_eq!(third.progress().applied(), 0);
    assert!(store.view().scan(b"", None, 10).unwrap().is_empty());
    assert!(third.status().running);
    // The two go on without it.
    certainly(&two.members.iter().collect::<Vec<_>>(), put("on", "x")).await;
}

/// A key-value application that neither applies nor files a name until it is let.
struct Hesitant {
    keys: Keys,
    asked: Arc<AtomicBool>,
    may: Arc<AtomicBool>,
}

impl StateMachine for Hesitant {
    fn apply(&mut self, records: &mut dyn Records, entry: Committed<'_>) -> Result<Outcome, Fatal> {
        self.wait();
        self.keys.apply(records, entry)
    }

    fn published(&mut self, applied: u64) {
        self.keys.published(applied);
    }

    fn restored(&mut self, records: &dyn View, index: u64) -> Result<(), Fatal> {
        self.keys.restored(records, index)
    }

    fn names_of(&self, key: &[u8], value: &[u8]) -> Vec<(u8, Vec<u8>, Vec<u8>, Bytes)> {
        self.wait();
        self.keys.names_of(key, value)
    }
}

impl Hesitant {
    fn wait(&self) {
        while !self.may.load(Ordering::SeqCst) {
            self.asked.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A third member to which its leader sends a whole snapshot: it is checked, and comes into force once it may.
async fn about_to_take_over(two: &Two) -> (Store, Consensus, Arc<AtomicBool>) {
    let store = open(two.third.path(), 3);
    let (asked, may) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let hesitant = Hesitant {
        keys: Keys::default(),
        asked: Arc::clone(&asked),
        may: Arc::clone(&may),
    };
    let word = Arc::new(Word(b"word"));
    let third = start_with(&two.net, settings(3), &store, Box::new(hesitant), word).await;
    eventually("the snapshot is there", || asked.load(Ordering::SeqCst)).await;
    (store, third, may)
}

/// Its leader sends a whole snapshot, which is checked, and another offer right behind it, while the names are filed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_offer_while_a_snapshot_comes_into_force_is_refused_and_changes_nothing() {
    let two = two_ahead(50).await;
    let (store, third, may) = about_to_take_over(&two).await;
    let (leader, term) = (third.leader().unwrap(), third.status().term);
    let reply = third.receive(leader, offer(term, leader, b"word")).await;
    may.store(true, Ordering::SeqCst);
    let last = certainly(&two.members.iter().collect::<Vec<_>>(), put("last", "x")).await;
    eventually("the third has caught up", || third.progress().applied() >= last.index).await;
    let scan = |store: &Store| store.view().scan(b"", None, usize::MAX).unwrap();
    assert_eq!(scan(&store), scan(&two.stores[0]));
    assert_eq!(refusal(reply).unwrap(), Some(Refusal::Snapshot));
}

/// A leader that did not hear that its snapshot was taken over offers it again, and gives nothing else meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_has_taken_over_a_snapshot_unheard_goes_on_when_it_is_offered_again() {
    let two = two_ahead(50).await;
    let (_store, third, may) = about_to_take_over(&two).await;
    two.net.mute(3, &[1, 2]);
    may.store(true, Ordering::SeqCst);
    eventually("it is in force", || third.progress().applied() > 0).await;
    two.net.heal();
    let last = certainly(&two.members.iter().collect::<Vec<_>>(), put("last", "x")).await;
    eventually("the third has caught up", || third.progress().applied() >= last.index).await;
    assert_eq!(third.chain_at(last.index).unwrap(), Some(last.chain));
}

/// A leader gave a member entries that the cluster never had, and had a genuine snapshot wash them away: by the member's heads nobody
/// could tell afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_replaces_a_state_only_once_the_others_agree_with_it() {
    let two = two().await;
    let store = open(two.third.path(), 3);
    let checks = Arc::new(Checks::default());
    let (third, _) = left_behind(&two, &store, Box::new(Keys::default()), Arc::clone(&checks)).await;
    let (before, applied) = (
        store.view().scan(b"", None, usize::MAX).unwrap(),
        third.progress().applied(),
    );
    two.net.heal();
    eventually("a refusal, or none", || {
        third.last_snapshot_refusal().is_some() || third.progress().applied() > applied
    })
    .await;
    let refused = third.last_snapshot_refusal();
    assert!(
        matches!(refused, Some(SnapshotRefused::Unsettled { applied: of, .. }) if of == applied),
        "{refused:?}"
    );
    assert!(checks.asked.lock().unwrap().iter().all(|asked| *asked == applied));
    assert_eq!(store.view().scan(b"", None, usize::MAX).unwrap(), before);
    checks.agreed.store(true, Ordering::SeqCst);
    let last = certainly(&two.members.iter().collect::<Vec<_>>(), put("last", "x")).await;
    eventually("the third has caught up", || third.progress().applied() >= last.index).await;
    assert_eq!(third.chain_at(last.index).unwrap(), Some(last.chain));
}

/// The log ends where it is of the latest term: behind the snapshot it would have had a hole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_an_earlier_term_ends_no_member_whose_entries_of_a_later_one_were_never_committed() {
    let two = two().await;
    let store = open(two.third.path(), 3);
    let checks = Arc::new(Checks::default());
    checks.agreed.store(true, Ordering::SeqCst);
    let (third, last) = left_behind(&two, &store, Box::new(Keys::default()), checks).await;
    let term = third.status().term + 3;
    let frame = append(term, UPSTART, last, (term, last.1 + 1));
    assert_eq!(refusal(third.receive(UPSTART, frame).await).unwrap(), None);
    assert_eq!(third.status().last, last.1 + 1);
    two.net.heal();
    let last = certainly(&two.members.iter().collect::<Vec<_>>(), put("last", "x")).await;
    eventually("the third has caught up, or ended", || {
        third.progress().applied() >= last.index || !third.status().running
    })
    .await;
    assert!(third.status().running);
    assert_eq!(third.chain_at(last.index).unwrap(), Some(last.chain));

    two.net.leave(3);
    third.shutdown().await;
    drop((third, store));
    let store = open(two.third.path(), 3);
    let third = start(&two.net, 3, &store).await;
    let last = certainly(&two.members.iter().collect::<Vec<_>>(), put("last", "y")).await;
    eventually("it goes on", || third.progress().applied() >= last.index).await;
}

/// What came behind it in that place would count as on disk before it is; debug builds ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_behind_what_its_leader_gave_itself_is_refused() {
    let two = two().await;
    let store = open(two.third.path(), 3);
    let checks = Arc::new(Checks::default());
    checks.agreed.store(true, Ordering::SeqCst);
    let (third, last) = left_behind(&two, &store, Box::new(Keys::default()), checks).await;
    let term = third.status().term + 3;
    let mut previous = last;
    for on in 1..6 {
        let next = (term, last.1 + on);
        let reply = third.receive(UPSTART, append(term, UPSTART, previous, next)).await;
        assert_eq!(refusal(reply).unwrap(), None);
        previous = next;
    }
    for (index, expected) in [
        (last.1 + 3, Some(Refusal::Snapshot)),
        (last.1 + 30, Some(Refusal::Snapshot)),
    ] {
        let offered = offer_empty(term, UPSTART, (last.0, index), b"word");
        assert_eq!(refusal(third.receive(UPSTART, offered).await).unwrap(), None);
        let reply = third.receive(UPSTART, last_chunk()).await;
        assert_eq!(refusal(reply).unwrap(), expected, "at {index}");
    }
    let ended = tokio::time::timeout(Duration::from_millis(100), third.ended()).await;
    assert!(ended.is_err(), "the member ended");
    assert_eq!(third.status().last, previous.1);
}

/// openraft stops on a snapshot that is older than what is committed, which is known before it is applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_snapshot_that_entries_have_overtaken_is_refused_though_they_are_not_applied_yet() {
    let two = two().await;
    let store = open(two.third.path(), 3);
    let (asked, may) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
    let hesitant = Hesitant {
        keys: Keys::default(),
        asked: Arc::clone(&asked),
        may: Arc::clone(&may),
    };
    let (third, last) = left_behind(&two, &store, Box::new(hesitant), Arc::default()).await;
    let term = third.status().term + 3;
    may.store(false, Ordering::SeqCst);
    let first = append(term, UPSTART, last, (term, last.1 + 1));
    assert_eq!(refusal(third.receive(UPSTART, first).await).unwrap(), None);
    let offered = offer_empty(term, UPSTART, (last.0, last.1 + 3), b"word");
    assert_eq!(refusal(third.receive(UPSTART, offered).await).unwrap(), None);
    for on in 1..6 {
        let (previous, next) = ((term, last.1 + on), (term, last.1 + on + 1));
        let frame = append_committed(term, UPSTART, previous, next, previous);
        assert_eq!(refusal(third.receive(UPSTART, frame).await).unwrap(), None);
    }
    eventually("an entry waits to be applied", || asked.load(Ordering::SeqCst)).await;
    let replied = third.receive(UPSTART, last_chunk()).await;
    let ended = tokio::time::timeout(Duration::from_millis(100), third.ended()).await;
    may.store(true, Ordering::SeqCst);
    assert_eq!(refusal(replied).unwrap(), Some(Refusal::Snapshot));
    assert!(matches!(
        third.last_snapshot_refusal(),
        Some(SnapshotRefused::Stale { .. })
    ));
    assert!(ended.is_err(), "the member ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_another_incarnation_is_refused() {
    let two = two_ahead(5).await;
    let store = open(two.third.path(), 3);
    let mut settings = settings(3);
    settings.incarnation = 1;
    let third = start_with(
        &two.net,
        settings,
        &store,
        Box::new(Keys::default()),
        Arc::new(Word(b"word")),
    )
    .await;
    eventually("a refusal", || third.last_snapshot_refusal().is_some()).await;
    assert_eq!(
        third.last_snapshot_refusal(),
        Some(SnapshotRefused::OtherIncarnation { theirs: 0, ours: 1 })
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_kept_states_stay_on_disk() {
    let two = two_ahead(5).await;
    let all: Vec<&Consensus> = two.members.iter().collect();
    for round in 0..3 {
        certainly(&all, put("round", &round.to_string())).await;
        let marked = certainly(&all, mark()).await;
        for member in &all {
            let mut marks = member.marks();
            marks
                .wait_for(|meta| meta.as_ref().is_some_and(|meta| meta.index >= marked.index))
                .await
                .unwrap();
            member.adopt_mark().await.unwrap();
            eventually("adopted", || member.status().snapshot == Some(marked.index)).await;
        }
    }
    let kept = |n: usize| {
        std::fs::read_dir(two._directories[n].path().join("marks"))
            .unwrap()
            .count()
    };
    eventually("old states are gone", || kept(0) == 1 && kept(1) == 1).await;
}

/// Each mark keeps a state, and takes a pass over all of it: who sets one after the other must not fill the others' disks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_that_follow_each_other_closely_keep_few_states() {
    let (net, directory) = (Net::default(), tempfile::tempdir().unwrap());
    let store = open(directory.path(), 1);
    let member = start(&net, 1, &store).await;
    member.initialize(members(&[1])).await.unwrap();
    for n in 0..500 {
        let value = "v".repeat(8_000);
        propose(&[&member], put(&format!("key-{n:05}"), &value)).await.unwrap();
    }
    let marking = (0..200).map(|_| {
        let member = member.clone();
        tokio::spawn(async move { member.propose(mark()).await })
    });
    let marking: Vec<_> = marking.collect();
    let mut most = 0;
    for one in marking {
        one.await.unwrap().unwrap();
        most = most.max(store.frozen().unwrap().len());
    }
    assert!(most <= 4, "{most} states are kept at once");

    // Those that come later are described as before.
    let mut described = false;
    for _ in 0..50 {
        let index = propose(&[&member], mark()).await.unwrap().index;
        let mut marks = member.marks();
        let it = marks.wait_for(|meta| meta.as_ref().is_some_and(|meta| meta.index == index));
        described = tokio::time::timeout(Duration::from_millis(500), it).await.is_ok();
        if described {
            break;
        }
    }
    assert!(described, "no later mark was described");
}

// A million secrets take minutes to describe; a node that was told to stop was killed instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_stops_without_waiting_until_a_mark_is_described() {
    let (net, directory) = (Net::default(), tempfile::tempdir().unwrap());
    let store = open(directory.path(), 1);
    let member = start(&net, 1, &store).await;
    member.initialize(members(&[1])).await.unwrap();
    propose(&[&member], many()).await.unwrap();
    let marked = propose(&[&member], mark()).await.unwrap();
    let described = member.marks();
    member.shutdown().await;
    assert_eq!(*described.borrow(), None, "the member waited for it");

    drop((member, net.leave(1), store));
    let store = open(directory.path(), 1);
    let member = start(&net, 1, &store).await;
    let mut described = member.marks();
    let again = described.wait_for(|meta| meta.as_ref().is_some_and(|meta| meta.index == marked.index));
    let again = tokio::time::timeout(Duration::from_secs(60), again).await.unwrap();
    assert_eq!(again.unwrap().as_ref().unwrap().records, u64::from(MANY));
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
