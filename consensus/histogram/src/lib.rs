//! Histograms with logarithmic buckets, in 2 KiB each: what openraft records its batch sizes and stage latencies in.
//!
//! Stands in for the crate of this name, whose 0.2.3 fills tables of 26 MiB for every bucket width at its first use,
//! 40 % of an idle node's memory (`docs/decisions/0011-histograms.md`). Only what openraft calls is here.
//!
//! A bucket is as wide as an eighth to a quarter of the values in it: four buckets for each power of two.
#![forbid(unsafe_code)]

use std::fmt;

/// Buckets for each power of two.
const STEPS: u64 = 4;
/// Values below [`STEPS`], each alone, and four for each of the 62 powers of two from there on.
const BUCKETS: usize = 4 + 62 * 4;

/// Counts values by their size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
    kept: std::marker::PhantomData<T>,
}

/// Percentiles of what was recorded: each the lower end of the bucket in which it falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PercentileStats {
    /// Values recorded.
    pub samples: u64,
    /// 0.1 %.
    pub p0_1: u64,
    /// 1 %.
    pub p1: u64,
    /// 5 %.
    pub p5: u64,
    /// 10 %.
    pub p10: u64,
    /// The median.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p99_9: u64,
}

fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let power = value.ilog2();
    // The two bits after the highest one.
    let step = (value >> (power - 2)) & (STEPS - 1);
    (u64::from(power - 1) * STEPS + step) as usize
}

fn lower_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let (power, step) = (bucket / STEPS + 1, bucket % STEPS);
    (STEPS + step) << (power - 2)
}

impl<T> Histogram<T> {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
            total: 0,
            kept: std::marker::PhantomData,
        }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value that occurred `times`.
    pub fn record_n(&mut self, value: u64, times: u64) {
        if let Some(count) = self.counts.get_mut(bucket(value)) {
            *count += times;
            self.total += times;
        }
    }

    /// Values recorded.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The lower end of the bucket that holds the value below or at which `per_mille` of all lie; 0 if there is none.
    fn percentile(&self, per_mille: u64) -> u64 {
        let wanted = (u128::from(self.total) * u128::from(per_mille)).div_ceil(1000).max(1);
        let mut seen = 0_u128;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= wanted {
                return lower_end(bucket);
            }
        }
        0
    }

    /// The percentiles.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total,
            p0_1: self.percentile(1),
            p1: self.percentile(10),
            p5: self.percentile(50),
            p10: self.percentile(100),
            p50: self.percentile(500),
            p90: self.percentile(900),
            p99: self.percentile(990),
            p99_9: self.percentile(999),
        }
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} values: p10 {}, p50 {}, p90 {}, p99 {}, p99.9 {}",
            self.samples, self.p10, self.p50, self.p90, self.p99, self.p99_9
        )
    }
}

/// Several histograms, a line each.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {
    series: Vec<(String, PercentileStats)>,
}

impl AsciiChart {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "the signature that openraft calls")]
    pub fn add(mut self, name: &str, histogram: Histogram) -> Self {
        self.series.push((name.to_owned(), histogram.percentile_stats()));
        self
    }

    /// What to print.
    #[must_use]
    pub fn detailed(&self) -> &Self {
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, stats) in &self.series {
            writeln!(f, "{name}: {stats}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_begins_where_the_one_before_ends() {
        for index in 0..BUCKETS {
            let low = lower_end(index);
            assert_eq!(bucket(low), index);
            if index > 0 {
                assert_eq!(bucket(low - 1), index - 1);
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_within_a_quarter_of_the_value() {
        let mut histogram: Histogram = Histogram::new();
        for value in 1..=10_000 {
            histogram.record(value);
        }
        let stats = histogram.percentile_stats();
        assert_eq!(stats.samples, 10_000);
        for (found, exact) in [
            (stats.p1, 100),
            (stats.p50, 5_000),
            (stats.p99, 9_900),
            (stats.p99_9, 9_990),
        ] {
            assert!(found <= exact && exact - found <= exact / 4, "{found} for {exact}");
        }
    }

    #[test]
    fn an_empty_histogram_has_zeros() {
        assert_eq!(Histogram::<()>::new().percentile_stats(), PercentileStats::default());
    }
}
