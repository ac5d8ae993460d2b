//! A durable audit record before each release: whatever left a node is in its audit log when the disk is opened after the
//! next loss of power, under the index that the client was told.

use super::places;
use crate::history::{Event, Leaf, Release, What};
use std::collections::BTreeMap;

pub(super) fn check(events: &[Event]) -> Vec<String> {
    let mut released: BTreeMap<u16, Vec<&Release>> = BTreeMap::new();
    // Releases that no opened disk has been compared with yet.
    let mut unseen: BTreeMap<u16, usize> = BTreeMap::new();
    let mut violations = Vec::new();
    for (_, what) in places(events) {
        match what {
            What::Released(release) => {
                released.entry(release.node).or_default().push(release);
                *unseen.entry(release.node).or_default() += 1;
            }
            What::Kept { node, leaves } => {
                unseen.remove(node);
                let of_node = released.get(node).into_iter().flatten();
                violations.extend(of_node.filter_map(|release| missing(release, leaves)));
            }
            _ => {}
        }
    }
    violations.extend(unseen.into_iter().map(|(node, releases)| {
        format!("{releases} releases of node {node} were never compared with what its disk keeps")
    }));
    violations
}

fn missing(release: &Release, leaves: &[Leaf]) -> Option<String> {
    let leaf = usize::try_from(release.audit_index)
        .ok()
        .and_then(|index| leaves.get(index));
    let expected = Leaf {
        request: release.request,
        client_key: release.client_key,
        allowed: true,
        version: release.version,
    };
    let Release {
        node,
        agent,
        key,
        version,
        audit_index,
        ..
    } = release;
    match leaf {
        Some(leaf) if *leaf == expected => None,
        Some(_) => Some(format!(
            "node {node} released version {version} of {} to agent {agent}; its audit record {audit_index} is another",
            key.path()
        )),
        None => Some(format!(
            "node {node} released version {version} of {} to agent {agent}; its audit log has no record {audit_index}",
            key.path()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::broken::{history, release};
    use super::*;

    fn leaf() -> Leaf {
        Leaf {
            request: [8; 32],
            client_key: [9; 32],
            allowed: true,
            version: 1,
        }
    }

    fn opened(leaves: Vec<Leaf>) -> Vec<String> {
        check(&history(vec![release(1, 0, 5), What::Kept { node: 1, leaves }]))
    }

    #[test]
    fn a_release_whose_record_is_kept_passes() {
        assert_eq!(opened(vec![leaf()]), Vec::<String>::new());
    }

    #[test]
    fn a_release_whose_record_is_lost_is_found() {
        assert_eq!(opened(Vec::new()).len(), 1);
    }

    #[test]
    fn a_record_of_another_request_client_or_version_does_not_count() {
        let other = [0; 32];
        for wrong in [
            Leaf {
                request: other,
                ..leaf()
            },
            Leaf {
                client_key: other,
                ..leaf()
            },
            Leaf { version: 2, ..leaf() },
        ] {
            assert_eq!(opened(vec![wrong]).len(), 1);
        }
    }

    #[test]
    fn a_record_that_says_no_does_not_count() {
        let denied = Leaf {
            allowed: false,
            ..leaf()
        };
        assert_eq!(opened(vec![denied]).len(), 1);
    }

    #[test]
    fn a_record_lost_by_a_later_crash_is_found() {
        let kept = |leaves| What::Kept { node: 1, leaves };
        let whats = vec![release(1, 0, 5), kept(vec![leaf()]), kept(Vec::new())];
        assert_eq!(check(&history(whats)).len(), 1);
    }

    #[test]
    fn releases_that_were_never_compared_are_found() {
        assert_eq!(check(&history(vec![release(1, 0, 5)])).len(), 1);
    }
}
