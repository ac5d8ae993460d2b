//! Masks values in a stream, also where they are split across writes.
//!
//! Every byte that belongs to an occurrence of a value is withheld, overlapping occurrences included, and each run of
//! them becomes `***`. What may be the beginning of a value is held back until more comes, so that it is never shown and
//! then completed. Each value is followed with the automaton of Knuth, Morris and Pratt: linear, whatever the child writes.
//! A large value has thousands of lines, each masked by itself: at any byte only those that have begun are followed, and
//! those that begin with it.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::limits::{MASKED_BYTES_MIN, MASKED_LINE_BYTES_MIN};

/// What stands for a value.
const MASK: &[u8] = b"***";

/// The texts that are masked; shared by all streams of one run.
pub(crate) struct Masked {
    patterns: Vec<Pattern>,
    /// The patterns that begin with each byte, by place.
    beginning: Vec<Vec<usize>>,
}

struct Pattern {
    bytes: Zeroizing<Vec<u8>>,
    /// `fallback[k]`: length of the longest proper prefix that ends the first `k + 1` bytes.
    fallback: Vec<usize>,
}

impl Masked {
    /// The values, their longer lines, and both in hex and base64. The flag tells of each value whether it is long
    /// enough to be masked at all.
    pub(crate) fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> (Self, Vec<bool>) {
        let mut texts: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        let mut masked = Vec::new();
        for value in values {
            // A value from a file mostly ends with a newline that programs trim.
            let value = value.trim_ascii_end();
            masked.push(value.len() >= MASKED_BYTES_MIN);
            if value.len() >= MASKED_BYTES_MIN {
                texts.extend(forms(value));
            }
        }
        texts.sort_unstable_by(|one, other| one.as_slice().cmp(other.as_slice()));
        texts.dedup_by(|one, other| one.as_slice() == other.as_slice());
        let mut beginning = vec![Vec::new(); 256];
        for (place, text) in texts.iter().enumerate() {
            let first = text.first().map(|byte| usize::from(*byte));
            if let Some(places) = first.and_then(|first| beginning.get_mut(first)) {
                places.push(place);
            }
        }
        let patterns = texts.into_iter().map(Pattern::new).collect();
        (Self { patterns, beginning }, masked)
    }

    /// Begins a stream.
    pub(crate) fn stream(&self) -> Stream<'_> {
        Stream {
            masked: self,
            matched: vec![0; self.patterns.len()],
            begun: Vec::new(),
            held: Zeroizing::new(Vec::new()),
            covered: Vec::new(),
            in_run: false,
        }
    }
}

fn forms(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms = vec![Zeroizing::new(value.to_vec())];
    let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    forms.extend(
        lines
            .filter(|line| line.len() >= MASKED_LINE_BYTES_MIN)
            .map(|line| Zeroizing::new(line.to_vec())),
    );
    for text in [hex::encode(value), hex::encode_upper(value)] {
        forms.push(Zeroizing::new(text.into_bytes()));
    }
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        forms.extend((0..3).flat_map(|before| base64_inside(engine, value, before)));
    }
    forms
}

/// What base64 shows of the value when `before` bytes more than a multiple of three come before it, as a user name does
/// in HTTP Basic: with what ends there, and with more after it. Characters that the neighbours change too are left out.
fn base64_inside(engine: &GeneralPurpose, value: &[u8], before: usize) -> Vec<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(vec![0; before]);
    text.extend_from_slice(value);
    let encoded = Zeroizing::new(engine.encode(text.as_slice()).into_bytes());
    let (first, certain) = ((before * 8).div_ceil(6), text.len() * 8 / 6);
    let shown = [encoded.get(first..), encoded.get(first..certain)];
    shown
        .into_iter()
        .flatten()
        .filter(|shown| shown.len() >= MASKED_BYTES_MIN)
        .map(|shown| Zeroizing::new(shown.to_vec()))
        .collect()
}

impl Pattern {
    fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        let mut pattern = Self {
            bytes,
            fallback: Vec::new(),
        };
        let mut length = 0;
        for at in 0..pattern.bytes.len() {
            if at > 0 {
                let byte = pattern.bytes.get(at).copied();
                length = pattern.step(length, byte);
            }
            pattern.fallback.push(length);
        }
        pattern
    }

    /// How much is matched after one more byte, if `matched` bytes were before. May be the whole pattern.
    fn step(&self, mut matched: usize, byte: Option<u8>) -> usize {
        loop {
            if matched < self.bytes.len() && self.bytes.get(matched).copied() == byte {
                return matched + 1;
            }
            match matched.checked_sub(1) {
                Some(last) => matched = self.fallback.get(last).copied().unwrap_or(0),
                None => return 0,
            }
        }
    }
}

/// One stream that is being masked.
pub(crate) struct Stream<'a> {
    masked: &'a Masked,
    /// Of each pattern, how much the stream ends with.
    matched: Vec<usize>,
    /// The patterns of which it ends with something, by place.
    begun: Vec<usize>,
    /// What may be the beginning of a value.
    held: Zeroizing<Vec<u8>>,
    /// The stretches of `held` that belong to occurrences, ascending, none touching another.
    covered: Vec<(usize, usize)>,
    /// Whether the last byte given out was masked.
    in_run: bool,
}

impl Stream<'_> {
    /// Takes what was written, appends what may be shown to `out`.
    pub(crate) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        for byte in input {
            self.held.push(*byte);
            self.follow(*byte);
        }
        let begun = self.begun.iter().filter_map(|place| self.matched.get(*place));
        let keep = begun.copied().max().unwrap_or(0).min(self.held.len());
        self.give(self.held.len() - keep, out);
    }

    /// Takes every pattern one byte further: those that have begun, and those that begin here.
    fn follow(&mut self, byte: u8) {
        let beginning = self.masked.beginning.get(usize::from(byte)).into_iter().flatten();
        let fresh = beginning.filter(|place| self.matched.get(**place) == Some(&0));
        let mut ends = Vec::new();
        let mut begun = std::mem::take(&mut self.begun);
        begun.extend(fresh);
        begun.retain(|place| {
            let (Some(pattern), Some(matched)) = (self.masked.patterns.get(*place), self.matched.get_mut(*place))
            else {
                return false;
            };
            *matched = pattern.step(*matched, Some(byte));
            if *matched == pattern.bytes.len() {
                ends.push(*matched);
                *matched = pattern.fallback.last().copied().unwrap_or(0);
            }
            *matched > 0
        });
        self.begun = begun;
        for length in ends {
            cover(&mut self.covered, self.held.len() - length, self.held.len());
        }
    }

    /// The end of the stream: gives out what was held back, which was no value after all.
    pub(crate) fn finish(mut self, out: &mut Vec<u8>) {
        self.give(self.held.len(), out);
    }

    /// Gives out the first `end` bytes that are held; keeps the rest.
    fn give(&mut self, end: usize, out: &mut Vec<u8>) {
        let covered = std::mem::take(&mut self.covered);
        let mut at = 0;
        for (from, to) in covered {
            if from < end {
                self.show(at, from, out);
                if !self.in_run {
                    out.extend_from_slice(MASK);
                    self.in_run = true;
                }
                at = to.min(end);
            }
            if to > end {
                self.covered.push((from.saturating_sub(end), to - end));
            }
        }
        self.show(at, end, out);
        // A vector that shrinks keeps its bytes; what leaves here is wiped.
        let rest = Zeroizing::new(self.held.get(end..).unwrap_or_default().to_vec());
        self.held = rest;
    }

    fn show(&mut self, from: usize, to: usize, out: &mut Vec<u8>) {
        if from < to {
            out.extend_from_slice(self.held.get(from..to).unwrap_or_default());
            self.in_run = false;
        }
    }
}

/// Adds a stretch that ends no earlier than all before, and joins those that it touches.
fn cover(stretches: &mut Vec<(usize, usize)>, mut from: usize, to: usize) {
    while let Some((last_from, _)) = stretches.pop_if(|(_, last_to)| *last_to >= from) {
        from = from.min(last_from);
    }
    stretches.push((from, to));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask(values: &[&str], chunks: &[&[u8]]) -> String {
        let (masked, _) = Masked::new(values.iter().map(|value| value.as_bytes()));
        let mut stream = masked.stream();
        let mut out = Vec::new();
        for chunk in chunks {
            stream.push(chunk, &mut out);
        }
        stream.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_is_masked_wherever_it_is_cut() {
        let text = b"key=sk_live_12345;";
        for cut in 0..text.len() {
            let (head, tail) = text.split_at(cut);
            assert_eq!(mask(&["sk_live_12345"], &[head, tail]), "key=***;", "cut at {cut}");
        }
    }

    #[test]
    fn what_only_begins_like_a_value_is_shown_at_the_end() {
        assert_eq!(mask(&["password"], &[b"pass", b"port"]), "passport");
        assert_eq!(mask(&["password"], &[b"passwor"]), "passwor");
    }

    #[test]
    fn nothing_of_a_value_is_shown_before_it_is_complete() {
        let (masked, _) = Masked::new([b"password".as_slice()]);
        let mut stream = masked.stream();
        let mut out = Vec::new();
        stream.push(b"my passwor", &mut out);
        assert_eq!(out, b"my ");
    }

    #[test]
    fn the_tail_of_a_longer_value_is_masked_too() {
        assert_eq!(mask(&["abcd", "abcdefgh"], &[b"abcd", b"efgh."]), "***.");
    }

    #[test]
    fn overlapping_values_are_masked_as_one() {
        assert_eq!(mask(&["abcdX", "Xefgh"], &[b"-abcdX", b"efgh-"]), "-***-");
        assert_eq!(mask(&["aaaa"], &[b"aaaaaaaaa", b"b"]), "***b");
    }

    #[test]
    fn hex_and_base64_of_a_value_are_masked() {
        assert_eq!(mask(&["hunter2!"], &[b"aHVudGVyMiE= 68756e7465723221"]), "***= ***");
    }

    #[test]
    fn base64_of_a_value_with_anything_before_and_after_it_is_masked() {
        let value = "correct-horse-battery-staple";
        for before in ["", "x", "me", "user:", "admin:", "someone:"] {
            for after in ["", "!", "\r\n", " and more"] {
                let encoded = STANDARD_NO_PAD.encode(format!("{before}{value}{after}"));
                let shown = mask(&[value], &[encoded.as_bytes()]);
                let left = shown.replace("***", "");
                let outside = encoded.len() - value.len() * 8 / 6;
                assert!(left.len() <= outside + 2, "{before}{value}{after}: {shown}");
            }
        }
    }

    #[test]
    fn each_long_line_of_a_value_is_masked_by_itself() {
        let key = "-----BEGIN KEY-----\nMHcCAQEEIB\n-----END KEY-----\n";
        assert_eq!(mask(&[key], &[b"> MHcCAQEEIB <"]), "> *** <");
    }

    #[test]
    fn a_value_that_would_blank_half_the_output_is_not_masked_and_said_so() {
        let (masked, told) = Masked::new([b"1".as_slice(), b"long enough"]);
        assert_eq!(told, [false, true]);
        let mut out = Vec::new();
        let mut stream = masked.stream();
        stream.push(b"111", &mut out);
        assert_eq!(out, b"111");
    }

    #[test]
    fn a_large_value_of_many_lines_is_masked_whole_and_line_by_line_and_what_follows_it_is_shown() {
        let lines: Vec<String> = (0..4_000)
            .map(|line| format!("line {line:04} of a large value"))
            .collect();
        let value = lines.join("\n");
        let text = format!("before {value} between {} after", lines[1_999]);
        let chunks: Vec<&[u8]> = text.as_bytes().chunks(16 * 1024).collect();
        assert_eq!(mask(&[&value], &chunks), "before *** between *** after");
        // Cut in the middle, its lines are masked all the same.
        let (head, _) = value.split_at(value.len() / 2);
        let shown = mask(&[&value], &[head.as_bytes()]);
        assert!(
            !shown.contains("line 0000") && !shown.contains("line 1000"),
            "{}",
            &shown[..80]
        );
    }

    /// Masks the whole at once, by brute force.
    fn reference(patterns: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
        let mut covered = vec![false; text.len()];
        for pattern in patterns {
            for at in 0..text.len() {
                if text[at..].starts_with(pattern) {
                    covered[at..at + pattern.len()].fill(true);
                }
            }
        }
        let mut out = Vec::new();
        for at in 0..text.len() {
            match (covered[at], at > 0 && covered[at - 1]) {
                (true, false) => out.extend_from_slice(MASK),
                (true, true) => {}
                (false, _) => out.push(text[at]),
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn any_chunks_give_what_the_whole_gives(
            values in proptest::collection::vec(proptest::collection::vec(b'a'..b'c', 4..8), 1..4),
            chunks in proptest::collection::vec(proptest::collection::vec(b'a'..b'd', 0..12), 0..12),
        ) {
            let (masked, _) = Masked::new(values.iter().map(Vec::as_slice));
            let patterns: Vec<Vec<u8>> = masked.patterns.iter().map(|pattern| pattern.bytes.to_vec()).collect();
            let mut stream = masked.stream();
            let mut out = Vec::new();
            for chunk in &chunks {
                stream.push(chunk, &mut out);
            }
            stream.finish(&mut out);
            prop_assert_eq!(out, reference(&patterns, &chunks.concat()));
        }
    }
}
