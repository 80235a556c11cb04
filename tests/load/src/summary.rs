//! What was measured.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::connection::Answer;
use crate::process::Snapshot;

/// Longest latency that is told apart, in microseconds.
const MAX_LATENCY_US: u64 = 120_000_000;

/// What one or several connections counted.
#[derive(Debug)]
pub(crate) struct Tally {
    latencies_us: Histogram<u64>,
    statuses: BTreeMap<u16, u64>,
    failures: BTreeMap<String, u64>,
    degraded: u64,
    replayed: u64,
    without_receipt: u64,
}

impl Tally {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latencies_us: Histogram::new_with_bounds(1, MAX_LATENCY_US, 3)?,
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            degraded: 0,
            replayed: 0,
            without_receipt: 0,
        })
    }

    pub(crate) fn count_answer(&mut self, answer: &Answer, latency: Duration) {
        *self.statuses.entry(answer.status).or_default() += 1;
        if answer.status != 200 {
            return;
        }
        self.latencies_us
            .saturating_record(latency.as_micros().try_into().unwrap_or(MAX_LATENCY_US));
        self.degraded += u64::from(answer.degraded);
        self.replayed += u64::from(answer.replayed);
        self.without_receipt += u64::from(answer.receipt.is_none());
    }

    pub(crate) fn count_failure(&mut self, failure: String) {
        *self.failures.entry(failure).or_default() += 1;
    }

    /// Adds another connection's counts.
    pub(crate) fn merge(&mut self, other: Self) -> anyhow::Result<()> {
        self.latencies_us.add(other.latencies_us)?;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (failure, count) in other.failures {
            *self.failures.entry(failure).or_default() += count;
        }
        self.degraded += other.degraded;
        self.replayed += other.replayed;
        self.without_receipt += other.without_receipt;
        Ok(())
    }

    /// Sums up what was counted in `elapsed`.
    pub(crate) fn summarize(self, elapsed: Duration, run: Run) -> Summary {
        let successes = self.latencies_us.len();
        let quantile = |q| self.latencies_us.value_at_quantile(q);
        Summary {
            path: run.path,
            connections: run.connections,
            elapsed_s: elapsed.as_secs_f64(),
            successes,
            successes_per_s: successes as f64 / elapsed.as_secs_f64(),
            latency_us: LatencyUs {
                mean: self.latencies_us.mean(),
                p50: quantile(0.5),
                p90: quantile(0.9),
                p99: quantile(0.99),
                p99_9: quantile(0.999),
                max: self.latencies_us.max(),
            },
            degraded: self.degraded,
            replayed: self.replayed,
            without_receipt: self.without_receipt,
            statuses: self.statuses,
            failures: self.failures,
            load: run.load,
        }
    }
}

/// What is known of a run besides its answers.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) path: String,
    pub(crate) connections: u16,
    pub(crate) load: Snapshot,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    path: String,
    connections: u16,
    /// Measured time, in seconds.
    elapsed_s: f64,
    /// Answers with status 200.
    pub(crate) successes: u64,
    /// Answers with status 200 a second.
    successes_per_s: f64,
    /// Latencies of the successes.
    latency_us: LatencyUs,
    /// Successes that another than the live model gave.
    degraded: u64,
    /// Successes that were recorded for an earlier request.
    replayed: u64,
    /// Successes without a receipt.
    without_receipt: u64,
    /// Answers by status.
    statuses: BTreeMap<u16, u64>,
    /// Requests without an answer, by reason.
    failures: BTreeMap<String, u64>,
    /// Who used the machine in the measured time, and memory at its end.
    #[serde(flatten)]
    load: Snapshot,
}

/// Latencies, in microseconds.
#[derive(Debug, Serialize)]
struct LatencyUs {
    mean: f64,
    p50: u64,
    p90: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "POST {} on {} connections for {:.1} s",
            self.path, self.connections, self.elapsed_s
        )?;
        writeln!(
            f,
            "  successes   {} ({:.0} a second)",
            self.successes, self.successes_per_s
        )?;
        let LatencyUs {
            mean,
            p50,
            p90,
            p99,
            p99_9,
            max,
        } = self.latency_us;
        writeln!(
            f,
            "  latency µs  mean {mean:.0}  p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p99_9}  max {max}"
        )?;
        for (status, count) in self.statuses.iter().filter(|(status, _)| **status != 200) {
            writeln!(f, "  status {status}  {count}")?;
        }
        for (failure, count) in &self.failures {
            writeln!(f, "  no answer   {count} × {failure}")?;
        }
        for (what, count) in [("degraded", self.degraded), ("replayed", self.replayed)] {
            if count > 0 {
                writeln!(f, "  {what}    {count} of the successes")?;
            }
        }
        let cores = |cpu_s: f64| cpu_s / self.elapsed_s;
        for (who, usage) in [
            ("server", self.load.server),
            ("generator", self.load.generator),
        ] {
            if let Some(usage) = usage {
                let (rss_mib, cores) = (usage.rss_mib, cores(usage.cpu_s));
                writeln!(f, "  {who:<11} {rss_mib:.1} MiB resident, {cores:.2} cores")?;
            }
        }
        if let Some(others) = self.load.others_cpu_s {
            writeln!(f, "  others      {:.2} cores", cores(others))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Answer {
        Answer {
            status,
            receipt: None,
            replayed: false,
            degraded: status == 200,
            closes: false,
        }
    }

    #[test]
    fn only_status_200_counts_as_a_success() {
        let mut tally = Tally::new().unwrap();
        for ms in 1..=100 {
            tally.count_answer(&answer(200), Duration::from_millis(ms));
        }
        let mut other = Tally::new().unwrap();
        other.count_answer(&answer(503), Duration::from_mins(1));
        other.count_failure("closed".to_owned());
        tally.merge(other).unwrap();
        let summary = tally.summarize(Duration::from_secs(2), Run::default());
        assert_eq!(
            (summary.successes, summary.degraded, summary.without_receipt),
            (100, 100, 100)
        );
        assert!((summary.successes_per_s - 50.0).abs() < 1e-9);
        let within = |value: u64, expected: f64| (value as f64 / expected - 1.0).abs() < 2e-3;
        assert!(within(summary.latency_us.p50, 50_000.0), "{summary:?}");
        assert!(within(summary.latency_us.p90, 90_000.0), "{summary:?}");
        assert!(within(summary.latency_us.max, 100_000.0), "{summary:?}");
        assert_eq!(summary.statuses, BTreeMap::from([(200, 100), (503, 1)]));
        let text = summary.to_string();
        assert!(
            text.contains("100 (50 a second)") && text.contains("status 503  1"),
            "{text}"
        );
        assert!(text.contains("no answer   1 × closed"), "{text}");
    }
}
