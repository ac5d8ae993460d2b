//! When too few nodes answer usefully: what to tell. A refusal counts as the cluster's only if so many nodes refuse that
//! t can no longer agree; else the nodes are named, each with its reason.

use crate::error::{Culprit, Error};
use crate::node::Failure;
use symbolon_wire::Code;

/// Refusals that are about the request; the others are about the node.
pub(crate) fn about_the_request(code: Code) -> bool {
    use Code::{
        BadDealing, BadPath, BadPolicy, BadSession, BadSignature, CasRequired, Conflict, Denied, EpochChanged, Exists,
        Expired, Malformed, NonceReused, NotFound, TooFewSignatures, TooLarge, TooManyCommands, UnknownKey,
        UnknownVersion, WrongCluster,
    };
    matches!(
        code,
        Malformed
            | UnknownKey
            | BadPath
            | Denied
            | NotFound
            | TooLarge
            | WrongCluster
            | UnknownVersion
            | Conflict
            | NonceReused
            | Expired
            | BadSignature
            | TooFewSignatures
            | EpochChanged
            | BadDealing
            | BadSession
            | Exists
            | BadPolicy
            | CasRequired
            | TooManyCommands
    )
}

/// A refusal about the request, with the state it was decided on.
pub(crate) fn refusal(failure: &Failure) -> Option<(Code, u64)> {
    match failure {
        Failure::Refused { error, state_index } if about_the_request(error.code) => Some((error.code, *state_index)),
        _ => None,
    }
}

/// What was tried, and how it went.
pub(crate) struct Tried<'a> {
    /// For the message: "read prod/stripe/key".
    pub(crate) what: &'a str,
    /// Answers that were needed.
    pub(crate) needed: usize,
    /// Usable answers.
    pub(crate) answered: usize,
    /// Nodes that have to say a thing alike before it counts as the cluster's.
    pub(crate) threshold: usize,
    /// Refusals that decide.
    pub(crate) blocking: usize,
}

/// The error for a call that failed.
pub(crate) fn conclude(tried: &Tried<'_>, failures: Vec<(u16, Failure)>, culprits: Vec<Culprit>) -> Error {
    let mut error = match decisive(tried, &failures) {
        Some(error) => error,
        None => undecided(tried, &failures, &culprits),
    };
    for culprit in culprits {
        if !error.culprits.contains(&culprit) {
            error.culprits.push(culprit);
        }
    }
    error
}

/// The refusal that t nodes gave, if refusals are so many that nothing else can come of it. If they differ, some were
/// decided on an old state; any t nodes show the newest committed one, so the one of the latest state is right.
fn decisive(tried: &Tried<'_>, failures: &[(u16, Failure)]) -> Option<Error> {
    let refusals: Vec<(Code, u64, &Failure)> = failures
        .iter()
        .filter_map(|(_, failure)| refusal(failure).map(|(code, state_index)| (code, state_index, failure)))
        .collect();
    if refusals.len() < tried.blocking {
        return None;
    }
    let by_t = |code: Code| refusals.iter().filter(|(other, ..)| *other == code).count() >= tried.threshold;
    // Between equals the one that says more: a denial has reasons.
    let (.., failure) = refusals
        .iter()
        .max_by_key(|(code, state_index, _)| (by_t(*code), *state_index, *code == Code::Denied))?;
    let mut error = failure.error().clone();
    // What to do next is followed like a command: one node alone does not say it.
    let alike = |(.., other): &&(Code, u64, &Failure)| other.error().next == error.next;
    if refusals.iter().filter(alike).count() < tried.threshold {
        error.next = None;
    }
    Some(error)
}

fn undecided(tried: &Tried<'_>, failures: &[(u16, Failure)], culprits: &[Culprit]) -> Error {
    let unreachable = |failure: &Failure| matches!(failure, Failure::NotSent(error) if matches!(error.code, Code::Unreachable | Code::Timeout));
    let code = if !culprits.is_empty() {
        Code::NodeAtFault
    } else if tried.answered == 0 && failures.iter().all(|(_, failure)| unreachable(failure)) {
        Code::Unreachable
    } else {
        Code::NoQuorum
    };
    let Tried {
        what, needed, answered, ..
    } = tried;
    let mut error = Error::new(
        code,
        format!("cannot {what}: {answered} of {needed} nodes needed gave a usable answer"),
    );
    for (node, failure) in failures {
        let told = failure.error();
        error
            .because
            .push(format!("node {node}: {} {}", told.code, told.in_one_line()));
    }
    error.next("symbolon status")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIED: Tried<'_> = Tried {
        what: "read a/b",
        needed: 2,
        answered: 0,
        threshold: 2,
        blocking: 2,
    };

    fn refused(code: Code) -> Failure {
        refused_at(1, code)
    }

    fn refused_at(state_index: u64, code: Code) -> Failure {
        Failure::Refused {
            error: Error::new(code, "refused").because("a reason"),
            state_index,
        }
    }

    #[test]
    fn a_denial_by_so_many_that_t_is_impossible_is_the_answer_with_its_reasons() {
        let error = conclude(
            &TRIED,
            vec![(1, refused(Code::Denied)), (3, refused(Code::Denied))],
            vec![],
        );
        assert_eq!(
            (error.code, error.because.as_slice()),
            (Code::Denied, &["a reason".to_owned()][..])
        );
    }

    #[test]
    fn one_denial_of_three_decides_nothing() {
        let down = Failure::NotSent(Error::new(Code::Unreachable, "node 2 cannot be reached"));
        let error = conclude(&TRIED, vec![(1, refused(Code::Denied)), (2, down)], vec![]);
        assert_eq!(error.code, Code::NoQuorum);
        assert_eq!(error.because.len(), 2);
        assert!(error.because[0].starts_with("node 1: SY0403"));
    }

    #[test]
    fn a_sealed_node_is_no_refusal_of_the_request() {
        let failures = vec![(1, refused(Code::Sealed)), (2, refused(Code::Sealed))];
        assert_eq!(conclude(&TRIED, failures, vec![]).code, Code::NoQuorum);
    }

    #[test]
    fn between_a_denial_and_an_absence_the_denial_is_told() {
        for order in [[Code::NotFound, Code::Denied], [Code::Denied, Code::NotFound]] {
            let failures = order.iter().map(|code| (1, refused(*code))).collect();
            assert_eq!(conclude(&TRIED, failures, vec![]).code, Code::Denied);
        }
    }

    #[test]
    fn of_two_refusals_the_one_decided_on_the_later_state_is_told() {
        let told = |one, other| conclude(&TRIED, vec![(1, one), (2, other)], vec![]).code;
        let (denied, absent) = (|at| refused_at(at, Code::Denied), |at| refused_at(at, Code::NotFound));
        assert_eq!(
            told(denied(5), absent(9)),
            Code::NotFound,
            "the right was granted in between"
        );
        assert_eq!(told(absent(9), denied(5)), Code::NotFound);
        assert_eq!(told(absent(5), denied(9)), Code::Denied);
        let failures = vec![(1, absent(5)), (2, denied(9)), (3, absent(5))];
        assert_eq!(
            conclude(&TRIED, failures, vec![]).code,
            Code::NotFound,
            "t nodes say so"
        );
    }

    #[test]
    fn when_nobody_can_be_reached_it_says_so() {
        let down = || Failure::NotSent(Error::new(Code::Unreachable, "cannot be reached"));
        let failures = vec![(1, down()), (2, down()), (3, down())];
        assert_eq!(conclude(&TRIED, failures, vec![]).code, Code::Unreachable);
    }
}
