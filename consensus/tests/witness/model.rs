//! Three nodes of Raft that boot as docs/decisions/0016-witnessed-boot.md says, small enough to visit every state.
//!
//! Node 0 is the one that may fail: its disk is put back, or a copy of it is started beside it. By symmetry this stands
//! for any node. Exchanges are atomic; that an answer is late is covered because counting it is a step of its own
//! (becoming leader, committing), and that it is lost because that step need not happen. What travels from a boot that
//! has ended is not modelled: a channel belongs to one boot and ends with it.

use super::{Broken, Variant};

/// Identities.
pub(crate) const NODES: usize = 3;
/// Processes: one of each identity, and the second one of node 0.
pub(crate) const PROCESSES: usize = 4;
const CLONE: usize = 3;
/// A majority of three.
const QUORUM: u32 = 2;

/// What happens to the disk of node 0, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is put back to what it was at any earlier time, while the node boots.
    PutBack,
    /// A second process starts on a copy of any age, beside the first.
    Cloned,
}

/// How far the search goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) term_max: u8,
    pub(crate) log_max: u8,
    /// What may happen to node 0's disk.
    pub(crate) fault: Fault,
    /// Boots of any node, faulty or not.
    pub(crate) boots_max: u8,
}

/// Terms of the longest search, and the first, in which nobody leads.
const TERMS: usize = 4;
/// Entries of the longest log of any search.
const LOG: usize = 3;

/// A log: the term of each entry. One leader a term, so that term and index name an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Log {
    len: u8,
    terms: [u8; LOG],
}

impl Log {
    /// (term, index) of the last entry, as logs are compared.
    fn last(&self) -> Place {
        (self.term(self.len), self.len)
    }

    /// The term at an index; indices begin with 1.
    fn term(&self, index: u8) -> u8 {
        if index == 0 {
            0
        } else {
            self.terms[usize::from(index) - 1]
        }
    }

    fn push(&mut self, term: u8) {
        self.terms[usize::from(self.len)] = term;
        self.len += 1;
    }

    fn up_to(&self, index: u8) -> Log {
        let mut log = Log::default();
        (1..=index).for_each(|index| log.push(self.term(index)));
        log
    }

    fn holds(&self, other: &Log) -> bool {
        self.len >= other.len && self.up_to(other.len) == *other
    }
}

/// Term and index of an entry.
type Place = (u8, u8);

/// A step: what happens, with places for the processes that take part.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Step(pub(crate) &'static str, pub(crate) [usize; 2]);

/// What lies on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Disk {
    pub(crate) term: u8,
    pub(crate) voted: Option<u8>,
    pub(crate) log: Log,
    /// The newest boot of each node that this one knows of.
    pub(crate) fences: [Boot; NODES],
}

/// A boot: its counter, and a number that no other boot has, for its nonce.
type Boot = (u8, u8);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Role {
    #[default]
    Follower,
    Candidate,
    Leader,
}

/// What another node has said to a booted one: its boot, its term, the furthest log it knows of.
type Heard = (Boot, u8, Place);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Process {
    pub(crate) runs: bool,
    pub(crate) disk: Disk,
    pub(crate) boot: Boot,
    pub(crate) admitted: bool,
    /// Another boot of its node is newer, and it knows.
    pub(crate) superseded: bool,
    /// It has applied the entry that carries its nonce.
    pub(crate) serves: bool,
    /// Where that entry is.
    pub(crate) nonce: Option<Place>,
    pub(crate) heard: [Option<Heard>; NODES],
    pub(crate) bar_term: u8,
    pub(crate) bar_log: Place,
    pub(crate) role: Role,
    pub(crate) votes: u8,
    pub(crate) reached: [u8; NODES],
}

impl Process {
    /// Forgets what no step asks for, so that states that go on alike are one.
    fn forget(&mut self) {
        if self.role != Role::Candidate {
            self.votes = 0;
        }
        if self.role != Role::Leader {
            self.reached = [0; NODES];
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) processes: [Process; PROCESSES],
    /// A copy of node 0's disk, taken at some time.
    pub(crate) backup: Option<Disk>,
    pub(crate) fault_used: bool,
    pub(crate) boots: u8,
    /// Everything that was acknowledged to anybody.
    pub(crate) acknowledged: Log,
    /// Which boot led each term.
    pub(crate) leaders: [Option<Boot>; TERMS],
    pub(crate) broken: Option<&'static str>,
}

pub(crate) fn node_of(process: usize) -> usize {
    process % CLONE
}

impl State {
    pub(crate) fn initial() -> Self {
        let mut processes: [Process; PROCESSES] = Default::default();
        for (index, process) in processes.iter_mut().enumerate().take(NODES) {
            process.runs = true;
            process.admitted = true;
            process.serves = true;
            process.disk.fences = [(1, 0), (1, 1), (1, 2)];
            process.boot = process.disk.fences[index];
        }
        Self {
            processes,
            backup: None,
            fault_used: false,
            boots: 0,
            acknowledged: Log::default(),
            leaders: [None; TERMS],
            broken: None,
        }
    }

    /// Whether `by` takes what comes from `from`: it knows of no newer boot of that node.
    fn takes(&self, by: usize, from: usize, variant: Variant) -> bool {
        let (fences, boot) = (&self.processes[by].disk.fences, self.processes[from].boot);
        variant == Some(Broken::NoFence) || fences[node_of(from)] <= boot
    }

    fn talk(&self, a: usize, b: usize, variant: Variant) -> bool {
        let (left, right) = (&self.processes[a], &self.processes[b]);
        node_of(a) != node_of(b)
            && left.runs
            && right.runs
            && !left.superseded
            && !right.superseded
            && self.takes(a, b, variant)
            && self.takes(b, a, variant)
    }

    /// Every state that one step leads to, with the step's name.
    pub(crate) fn next(&self, bounds: Bounds, variant: Variant, next: &mut Vec<(Step, State)>) {
        for a in 0..PROCESSES {
            if !self.processes[a].runs {
                continue;
            }
            self.alone(a, bounds, variant, next);
            for b in 0..PROCESSES {
                if node_of(a) != node_of(b) && self.processes[b].runs {
                    self.together(a, b, bounds, variant, next);
                }
            }
        }
        self.faults(bounds, variant, next);
        for (_, state) in next {
            state.processes.iter_mut().for_each(Process::forget);
        }
    }

    fn alone(&self, p: usize, bounds: Bounds, variant: Variant, next: &mut Vec<(Step, State)>) {
        let process = &self.processes[p];
        let id = u8::try_from(node_of(p)).unwrap();
        let idle = !process.superseded && process.admitted;
        let behind = process.disk.log.last() < process.bar_log && variant != Some(Broken::StandsBehindTheBar);
        if idle && process.role != Role::Leader && process.disk.term < bounds.term_max && !behind {
            let mut state = *self;
            let process = &mut state.processes[p];
            process.disk.term += 1;
            process.disk.voted = Some(id);
            process.role = Role::Candidate;
            process.votes = 1 << id;
            next.push((Step("{} stands", [p, 0]), state));
        }
        if idle && process.role == Role::Candidate && process.votes.count_ones() >= QUORUM {
            let mut state = *self;
            let process = &mut state.processes[p];
            process.role = Role::Leader;
            process.reached = [0; NODES];
            process.reached[node_of(p)] = process.disk.log.len;
            let boot = process.boot;
            let led = &mut state.leaders[usize::from(process.disk.term)];
            if led.is_some_and(|other| other != boot) {
                state.broken = Some("two leaders of one term");
            }
            *led = Some(boot);
            next.push((Step("{} leads", [p, 0]), state));
        }
        if idle && process.role == Role::Leader && process.disk.log.len < bounds.log_max {
            let mut state = *self;
            let process = &mut state.processes[p];
            process.disk.log.push(process.disk.term);
            process.reached[node_of(p)] = process.disk.log.len;
            next.push((Step("{} takes a write", [p, 0]), state));
        }
        if idle && process.role == Role::Leader {
            self.commit(p, next);
        }
        if process.runs && !process.admitted && !process.superseded {
            self.admit(p, variant, next);
        }
        if let Some((term, index)) = process.nonce
            && !process.serves
            && (self.acknowledged.len >= index && self.acknowledged.term(index) == term)
            && process.disk.log.holds(&self.acknowledged.up_to(index))
        {
            let mut state = *self;
            let process = &mut state.processes[p];
            process.serves = true;
            // What it holds by now is enough: from here on it is as any node.
            (process.nonce, process.bar_term, process.bar_log) = (None, 0, (0, 0));
            next.push((Step("{} serves", [p, 0]), state));
        }
    }

    fn commit(&self, p: usize, next: &mut Vec<(Step, State)>) {
        let process = &self.processes[p];
        let length = process.disk.log.len;
        for index in 1..=length {
            let count = process.reached.iter().filter(|reached| **reached >= index).count();
            let committed = process.disk.log.up_to(index);
            if process.disk.log.term(index) != process.disk.term || count < 2 || self.acknowledged.holds(&committed) {
                continue;
            }
            let mut state = *self;
            if committed.holds(&self.acknowledged) {
                state.acknowledged = committed;
            } else {
                state.broken = Some("two histories were acknowledged");
            }
            next.push((Step("{} commits {}", [p, usize::from(index)]), state));
        }
    }

    /// Ends the wait of a booted node that has heard both others.
    fn admit(&self, p: usize, variant: Variant, next: &mut Vec<(Step, State)>) {
        let process = &self.processes[p];
        let own = node_of(p);
        let heard: Vec<(usize, Heard)> = process
            .heard
            .iter()
            .enumerate()
            .filter_map(|(node, heard)| heard.map(|heard| (node, heard)))
            .filter(|(node, heard)| process.disk.fences[*node] <= heard.0)
            .collect();
        let enough = if variant == Some(Broken::OneWitness) {
            1
        } else {
            NODES - 1
        };
        if heard.len() < enough {
            return;
        }
        let mut state = *self;
        let process = &mut state.processes[p];
        let term = heard
            .iter()
            .map(|(_, heard)| heard.1)
            .max()
            .unwrap()
            .max(process.disk.term);
        let log = heard
            .iter()
            .map(|(_, heard)| heard.2)
            .max()
            .unwrap()
            .max(process.disk.log.last());
        process.admitted = true;
        if variant != Some(Broken::NoTermBar) {
            process.bar_term = term;
            if process.disk.term < term {
                process.disk.term = term;
                process.disk.voted = Some(u8::try_from(own).unwrap());
            }
        }
        if variant != Some(Broken::NoLogBar) {
            process.bar_log = log;
        }
        process.heard = [None; NODES];
        next.push((Step("{} is admitted", [p, 0]), state));
    }

    fn together(&self, a: usize, b: usize, bounds: Bounds, variant: Variant, next: &mut Vec<(Step, State)>) {
        if self.processes[a].admitted && self.talk(a, b, variant) {
            self.ask_vote(a, b, variant, next);
            self.append(a, b, variant, next);
            self.announce(b, a, bounds, next);
        }
        let left = &self.processes[a];
        if !left.admitted && !left.superseded && !self.processes[b].superseded {
            self.witness(a, b, variant, next);
        }
        // Whoever is refused as superseded is shown why.
        if !left.superseded && !self.takes(b, a, variant) {
            let mut state = *self;
            state.processes[a] = Process {
                superseded: true,
                ..Process::default()
            };
            next.push((Step("{} hears from {} that it is superseded", [a, b]), state));
        }
    }

    fn ask_vote(&self, a: usize, b: usize, variant: Variant, next: &mut Vec<(Step, State)>) {
        let (candidate, voter) = (&self.processes[a], &self.processes[b]);
        let may = voter.admitted || variant == Some(Broken::VotesAtOnce);
        let id = u8::try_from(node_of(a)).unwrap();
        if candidate.role != Role::Candidate || !may {
            return;
        }
        let term = candidate.disk.term;
        let free = term > voter.disk.term || (term == voter.disk.term && voter.disk.voted.is_none_or(|v| v == id));
        let last = candidate.disk.log.last();
        let leads = term == voter.disk.term && voter.role == Role::Leader;
        if !free || leads || term <= voter.bar_term || last < voter.disk.log.last().max(voter.bar_log) {
            return;
        }
        let mut state = *self;
        let voter = &mut state.processes[b];
        voter.disk.term = term;
        voter.disk.voted = Some(id);
        voter.role = Role::Follower;
        let bit = 1 << node_of(b);
        if state.processes[a].votes & bit != 0 && self.processes[b].disk == state.processes[b].disk {
            return;
        }
        state.processes[a].votes |= bit;
        next.push((Step("{} votes for {}", [b, a]), state));
    }

    fn append(&self, a: usize, b: usize, variant: Variant, next: &mut Vec<(Step, State)>) {
        let (leader, follower) = (&self.processes[a], &self.processes[b]);
        let may = follower.admitted || variant == Some(Broken::CountsAtOnce);
        let term = leader.disk.term;
        if leader.role != Role::Leader || !may || term < follower.disk.term {
            return;
        }
        let mut state = *self;
        let follower = &mut state.processes[b];
        if follower.disk.term < term {
            follower.disk.term = term;
            follower.disk.voted = None;
        }
        follower.role = Role::Follower;
        if !follower.disk.log.holds(&leader.disk.log) {
            follower.disk.log = leader.disk.log;
        }
        state.processes[a].reached[node_of(b)] = leader.disk.log.len;
        if state != *self {
            next.push((Step("{} appends to {}", [a, b]), state));
        }
    }

    /// A booted node has the leader log its nonce.
    fn announce(&self, p: usize, leader: usize, bounds: Bounds, next: &mut Vec<(Step, State)>) {
        let (booted, leading) = (&self.processes[p], &self.processes[leader]);
        let length = leading.disk.log.len;
        if leading.role != Role::Leader || !booted.admitted || booted.serves || booted.nonce.is_some() {
            return;
        }
        if length < bounds.log_max {
            let mut state = *self;
            let leading = &mut state.processes[leader];
            leading.disk.log.push(leading.disk.term);
            leading.reached[node_of(leader)] = length + 1;
            state.processes[p].nonce = Some((self.processes[leader].disk.term, length + 1));
            next.push((Step("{} logs the nonce of {}", [leader, p]), state));
        }
    }

    /// `b` tells the booted `a` where it stands, and takes nothing from older boots of `a`'s node any more.
    fn witness(&self, a: usize, b: usize, variant: Variant, next: &mut Vec<(Step, State)>) {
        if !self.takes(b, a, variant) || !self.takes(a, b, variant) {
            return;
        }
        let mut state = *self;
        state.processes[b].disk.fences[node_of(a)] = self.processes[a].boot;
        let witness = &self.processes[b];
        let furthest = witness.disk.log.last();
        let booted = &mut state.processes[a];
        booted.heard[node_of(b)] = Some((witness.boot, witness.disk.term, furthest));
        let fence = &mut booted.disk.fences;
        fence[node_of(b)] = fence[node_of(b)].max(witness.boot);
        if state != *self {
            next.push((Step("{} vouches to {}", [b, a]), state));
        }
    }

    fn faults(&self, bounds: Bounds, variant: Variant, next: &mut Vec<(Step, State)>) {
        if self.backup.is_none() && !self.fault_used {
            let mut state = *self;
            state.backup = Some(self.processes[0].disk);
            next.push((Step("the disk of 0 is copied", [0, 0]), state));
        }
        if self.boots >= bounds.boots_max {
            return;
        }
        for p in 0..PROCESSES {
            if self.processes[p].runs && !self.processes[p].superseded {
                let disk = self.processes[p].disk;
                next.push((Step("{} boots", [p, 0]), self.booted(p, disk, variant)));
            }
        }
        if let (Some(disk), false) = (&self.backup, self.fault_used) {
            let (process, step) = match bounds.fault {
                Fault::PutBack => (0, "node 0 boots with the old disk"),
                Fault::Cloned => (CLONE, "a clone of node 0 starts"),
            };
            let mut state = self.booted(process, *disk, variant);
            state.fault_used = true;
            state.backup = None;
            next.push((Step(step, [0, 0]), state));
        }
    }

    fn booted(&self, p: usize, mut disk: Disk, variant: Variant) -> State {
        let mut state = *self;
        let own = node_of(p);
        let counter = disk.fences[own].0 + 1;
        if variant == Some(Broken::FencesAreForgotten) {
            disk.fences = Default::default();
        }
        // Numbers of boots begin after those of the first three.
        let boot = (counter, state.boots + 3);
        disk.fences[own] = boot;
        let trusts = variant == Some(Broken::NoWitness);
        state.processes[p] = Process {
            runs: true,
            disk,
            boot,
            admitted: trusts,
            serves: variant == Some(Broken::ServesBeforeItsNonce),
            ..Process::default()
        };
        state.boots += 1;
        state
    }

    /// Whether all happened that the bounds allow: the last term, every boot, the fault among them, every entry
    /// acknowledged (a write, or a boot's own), and a booted node that serves again.
    pub(crate) fn is_full(&self, bounds: Bounds) -> bool {
        let serves = |process: &Process| process.serves && process.boot.1 >= u8::try_from(NODES).unwrap();
        self.fault_used
            && self.boots == bounds.boots_max
            && self.acknowledged.len == bounds.log_max
            && self.acknowledged.last().0 == bounds.term_max
            && self.processes.iter().any(serves)
    }

    /// What must never be, if it is.
    pub(crate) fn violation(&self, variant: Variant) -> Option<&'static str> {
        if self.broken.is_some() {
            return self.broken;
        }
        let term = self.acknowledged.last().0;
        let live = |p: &&Process| p.runs && !p.superseded && p.role == Role::Leader;
        let mut leaders = self.processes.iter().filter(live);
        if leaders.any(|p| p.disk.term >= term && !p.disk.log.holds(&self.acknowledged)) {
            return Some("an acknowledged write is lost");
        }
        let counts = |p: usize| {
            let others = (0..PROCESSES).filter(|other| node_of(*other) != node_of(p));
            let mut reachable = others.filter(|other| self.processes[*other].admitted && self.talk(p, *other, variant));
            self.processes[p].admitted && reachable.next().is_some()
        };
        if self.processes[CLONE].runs && counts(0) && counts(CLONE) {
            return Some("two processes of one node count");
        }
        // Of two nodes of which each answers from all that its log holds, one knows everything acknowledged. The older of
        // a node and its clone is left out: it answers until it hears of the newer boot.
        let newest = |p: usize| {
            let mut same = self.processes.iter().enumerate();
            same.all(|(other, process)| node_of(other) != node_of(p) || process.boot <= self.processes[p].boot)
        };
        let answers = |p: &usize| {
            let process = &self.processes[*p];
            process.runs && process.serves && !process.superseded && newest(*p)
        };
        let stale = (0..PROCESSES).filter(answers);
        let stale = stale.filter(|p| !self.processes[*p].disk.log.holds(&self.acknowledged));
        let stale = stale.fold(0u8, |nodes, p| nodes | 1 << node_of(p));
        if stale.count_ones() >= QUORUM {
            return Some("two nodes answer without what was acknowledged");
        }
        None
    }
}
