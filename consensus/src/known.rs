//! Records known without reading them: what apply read or wrote lately, or what readers of the store asked for. Most
//! entries ask for the same few (their author, the clock) or for what the entry before them wrote.

use std::collections::HashMap;

use bytes::Bytes;

use crate::limits::KNOWN_BYTES_MAX;

/// Counted for each record beside key and value: the maps' own.
const OVERHEAD: usize = 128;

/// Records as they are, `None` where there is none. The oldest half is forgotten when the newest is full.
#[derive(Debug)]
pub struct Known {
    bytes_max: usize,
    newest: HashMap<Vec<u8>, Option<Bytes>>,
    oldest: HashMap<Vec<u8>, Option<Bytes>>,
    newest_bytes: usize,
}

impl Default for Known {
    fn default() -> Self {
        Self::bounded(KNOWN_BYTES_MAX)
    }
}

impl Known {
    /// Knows nothing yet, and will hold at most `bytes_max`.
    #[must_use]
    pub fn bounded(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            newest: HashMap::new(),
            oldest: HashMap::new(),
            newest_bytes: 0,
        }
    }

    /// The record under `key`, if that is known.
    pub fn get(&mut self, key: &[u8]) -> Option<Option<Bytes>> {
        if let Some(known) = self.newest.get(key) {
            return Some(known.clone());
        }
        let (key, value) = self.oldest.remove_entry(key)?;
        self.put(key, value.clone());
        Some(value)
    }

    /// What is under `key` now.
    pub fn put(&mut self, key: Vec<u8>, value: Option<Bytes>) {
        let bytes = key.len() + value.as_ref().map_or(0, Bytes::len) + OVERHEAD;
        if self.newest_bytes + bytes > self.bytes_max / 2 {
            self.oldest = std::mem::take(&mut self.newest);
            self.newest_bytes = 0;
        }
        // A replaced record stays counted until its half is forgotten.
        self.newest_bytes += bytes;
        self.newest.insert(key, value);
    }

    /// Knows nothing of the record under `key` any more.
    pub fn forget(&mut self, key: &[u8]) {
        // Its bytes stay counted until their half is forgotten.
        self.newest.remove(key);
        self.oldest.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> Vec<u8> {
        number.to_be_bytes().to_vec()
    }

    #[test]
    fn the_last_word_on_a_record_is_known_and_what_is_asked_for_stays() {
        let mut known = Known::default();
        let value = Bytes::from(vec![7; 1024]);
        known.put(key(0), Some(Bytes::from_static(b"earlier")));
        known.put(key(0), Some(Bytes::from_static(b"often")));
        known.put(key(1), None);
        for number in 2..20_000 {
            known.put(key(number), Some(value.clone()));
            assert_eq!(known.get(&key(0)), Some(Some(Bytes::from_static(b"often"))));
            if number % 1_000 == 0 {
                known.put(key(1), None);
            }
        }
        assert_eq!(known.get(&key(1)), Some(None));
        assert_eq!(known.get(&key(2)), None, "what nobody asked for is forgotten");
    }

    #[test]
    fn what_is_known_is_bounded() {
        let mut known = Known::default();
        for number in 0..20_000 {
            known.put(key(number), Some(Bytes::from(vec![7; 1024])));
            let held = known.newest.values().chain(known.oldest.values());
            assert!(number % 100 != 0 || held.flatten().map(Bytes::len).sum::<usize>() <= KNOWN_BYTES_MAX);
        }
    }

    #[test]
    fn a_newer_word_is_never_hidden_by_an_older_one() {
        let mut known = Known::default();
        for round in 0..50u32 {
            known.put(key(0), Some(Bytes::copy_from_slice(&round.to_be_bytes())));
            for number in 1..300 {
                known.put(key(number), Some(Bytes::from(vec![7; 1024])));
            }
            let told = known.get(&key(0));
            assert!(told.is_none() || told == Some(Some(Bytes::copy_from_slice(&round.to_be_bytes()))));
        }
    }
}
