//! All nodes and all authors are honest here: nobody may be blamed, and whatever t nodes release must open.

use super::places;
use crate::history::{Answer, Event, What};

pub(super) fn check(events: &[Event]) -> Vec<String> {
    let blamed = places(events).filter_map(|(_, what)| match what {
        What::Blamed { by, what } => Some(format!("node {by} says: {what}")),
        What::Froze { node, index } => Some(format!("node {node} froze over entry {index}")),
        What::Outvoted { node, by, index } => {
            Some(format!("node {by} says that the log of node {node} differs at {index}"))
        }
        What::Answered {
            op,
            answer: Answer::Wrong(why),
        } => Some(format!("operation {op}: {why}")),
        _ => None,
    });
    blamed.collect()
}

#[cfg(test)]
mod tests {
    use super::super::broken::{applied, history};
    use super::*;

    #[test]
    fn a_history_without_blame_passes() {
        assert_eq!(check(&history(vec![applied(1, 1, 1)])), Vec::<String>::new());
    }

    #[test]
    fn a_node_that_is_blamed_is_found() {
        let blamed = What::Blamed {
            by: 1,
            what: "node 2 signed two heads at 7".to_owned(),
        };
        assert_eq!(check(&history(vec![blamed])).len(), 1);
    }

    #[test]
    fn a_node_that_freezes_or_is_outvoted_is_found() {
        let froze = What::Froze { node: 1, index: 7 };
        let outvoted = What::Outvoted {
            node: 2,
            by: 1,
            index: 7,
        };
        assert_eq!(check(&history(vec![froze, outvoted])).len(), 2);
    }

    #[test]
    fn a_value_that_does_not_open_is_found() {
        let answer = Answer::Wrong("the fragments do not combine".to_owned());
        assert_eq!(check(&history(vec![What::Answered { op: 1, answer }])).len(), 1);
    }
}
