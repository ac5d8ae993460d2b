//! Those who wait for changes: how many there may be, and who is woken by what.

use crate::member::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use symbolon_crypto::Hash;
use symbolon_wire::change::Target;
use tokio::sync::watch;

/// Waiting watches of one key: more than one agent's secrets need, fewer than a connection has streams.
const WATCHERS_OF_ONE_MAX: usize = 64;
/// Waiting watches of all keys: some 10 KiB each.
const WATCHERS_MAX: usize = 8_192;

/// Wakes those who wait for a path or folder, and nobody else.
#[derive(Default)]
pub(crate) struct Bells(Mutex<HashMap<String, watch::Sender<()>>>);

/// The key of what is watched: a folder's ends with a slash, as no path does.
fn key(target: &Target) -> String {
    match target {
        Target::Secret(path) => path.clone(),
        Target::Folder(path) => format!("{path}/"),
    }
}

impl Bells {
    /// Waits from now on for changes at `target`.
    pub(crate) fn listen(&self, target: &Target) -> watch::Receiver<()> {
        let mut bells = lock(&self.0);
        bells.entry(key(target)).or_default().subscribe()
    }

    /// No longer waits. Who was the last takes the bell away.
    pub(crate) fn leave(&self, target: &Target, listening: watch::Receiver<()>) {
        let mut bells = lock(&self.0);
        drop(listening);
        let key = key(target);
        if bells.get(&key).is_some_and(|bell| bell.receiver_count() == 0) {
            bells.remove(&key);
        }
    }

    /// Something changed at `path`.
    pub(crate) fn ring(&self, path: &str) {
        let bells = lock(&self.0);
        if bells.is_empty() {
            return;
        }
        let ring = |key: &str| {
            if let Some(bell) = bells.get(key) {
                bell.send_replace(());
            }
        };
        ring(path);
        ring("/");
        for (slash, _) in path.match_indices('/') {
            if let Some(folder) = path.get(..=slash) {
                ring(folder);
            }
        }
    }

    /// Anything may have changed.
    pub(crate) fn ring_all(&self) {
        lock(&self.0).values().for_each(|bell| {
            bell.send_replace(());
        });
    }
}

/// Counts who waits.
#[derive(Default)]
pub(crate) struct Watchers(Mutex<HashMap<Hash, usize>>);

/// A place among those who wait, until it is dropped.
pub(crate) struct Place {
    watchers: Arc<Watchers>,
    key: Hash,
}

/// No place is left, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    /// For this key.
    #[error("{WATCHERS_OF_ONE_MAX} watches of this key wait already")]
    OfOne,
    /// For anybody.
    #[error("{WATCHERS_MAX} watches wait already")]
    OfAll,
}

impl Watchers {
    /// Takes a place for `client_key`.
    pub(crate) fn enter(self: &Arc<Self>, client_key: &Hash) -> Result<Place, Full> {
        let mut counts = lock(&self.0);
        if counts.values().sum::<usize>() >= WATCHERS_MAX {
            return Err(Full::OfAll);
        }
        let own = counts.entry(*client_key).or_default();
        if *own >= WATCHERS_OF_ONE_MAX {
            return Err(Full::OfOne);
        }
        *own += 1;
        Ok(Place {
            watchers: Arc::clone(self),
            key: *client_key,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = lock(&self.watchers.0);
        if let Some(own) = counts.get_mut(&self.key) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: &str) -> Target {
        Target::Folder(path.to_owned())
    }

    #[test]
    fn a_change_wakes_who_watches_its_path_or_a_folder_above_it_and_nobody_else() {
        let bells = Bells::default();
        let watched = [
            (Target::Secret("a/b/c".to_owned()), true),
            (folder("a/b"), true),
            (folder("a"), true),
            (folder(""), true),
            (Target::Secret("a/b".to_owned()), false),
            (folder("a/b/c"), false),
            (folder("b"), false),
        ];
        let listening: Vec<_> = watched.iter().map(|(target, _)| bells.listen(target)).collect();
        bells.ring("a/b/c");
        for ((target, woken), listening) in watched.iter().zip(&listening) {
            assert_eq!(listening.has_changed().unwrap(), *woken, "{target:?}");
        }
        for ((target, _), listening) in watched.iter().zip(listening) {
            bells.leave(target, listening);
        }
        assert!(lock(&bells.0).is_empty(), "a bell that nobody hears stays");
    }

    #[test]
    fn places_are_bounded_for_one_key_and_for_all_and_come_back() {
        let watchers = Arc::new(Watchers::default());
        let key = |number: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            key
        };
        let mut own: Vec<Place> = (0..WATCHERS_OF_ONE_MAX)
            .map(|_| watchers.enter(&key(0)).ok().unwrap())
            .collect();
        assert_eq!(watchers.enter(&key(0)).err(), Some(Full::OfOne));
        own.pop();
        own.push(watchers.enter(&key(0)).ok().unwrap());
        let others: Vec<Place> = (0..10_000)
            .filter_map(|number| watchers.enter(&key(number)).ok())
            .collect();
        assert_eq!(own.len() + others.len(), WATCHERS_MAX);
        assert_eq!(watchers.enter(&key(20_000)).err(), Some(Full::OfAll));
        drop((own, others));
        assert!(lock(&watchers.0).is_empty());
    }
}
