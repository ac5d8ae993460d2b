//! After healing a write is acknowledged within 10 s, so there is a leader; and all nodes serve with one log within 60 s.

use crate::history::{Event, What};
use crate::limits::{HEALTH_WITHIN, LEADER_WITHIN};
use std::time::Duration;

pub(super) fn check(events: &[Event]) -> Vec<String> {
    let at = |wanted: &What| {
        events
            .iter()
            .find(|event| event.what == *wanted)
            .map(|event| event.at_ms)
    };
    let Some(healed) = at(&What::Healed) else {
        return vec!["the cluster was never healed".to_owned()];
    };
    let late = |what: &What, name: &str, within: Duration| {
        let took = at(what).map(|at| at.saturating_sub(healed));
        let in_time = took.is_some_and(|took| u128::from(took) <= within.as_millis());
        let told = took.map_or_else(|| "never".to_owned(), |took| format!("only after {took} ms"));
        (!in_time).then(|| format!("{name} {told}"))
    };
    let leader = late(&What::Led, "a write was acknowledged", LEADER_WITHIN);
    let health = late(&What::Healthy, "all nodes served with one log", HEALTH_WITHIN);
    leader.into_iter().chain(health).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(led_ms: u64, healthy_ms: u64) -> usize {
        let event = |at_ms, what| Event { at_ms, what };
        let events = [
            event(1_000, What::Healed),
            event(1_000 + led_ms, What::Led),
            event(1_000 + healthy_ms, What::Healthy),
        ];
        check(&events).len()
    }

    #[test]
    fn in_time_passes() {
        assert_eq!(after(10_000, 60_000), 0);
    }

    #[test]
    fn a_late_leader_is_found() {
        assert_eq!(after(10_001, 60_000), 1);
    }

    #[test]
    fn late_health_is_found() {
        assert_eq!(after(10, 60_001), 1);
    }

    #[test]
    fn no_leader_at_all_is_found() {
        let event = Event {
            at_ms: 0,
            what: What::Healed,
        };
        assert_eq!(check(&[event]).len(), 2);
        assert_eq!(check(&[]).len(), 1);
    }
}
