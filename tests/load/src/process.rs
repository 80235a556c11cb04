//! Memory and processor time of a process and its children, from `/proc`.

use std::fs;

use serde::Serialize;

/// The kernel counts processor time for user space in hundredths of a second, on every architecture.
const TICKS_PER_S: f64 = 100.0;

/// What a process and its children use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Usage {
    /// Resident memory now, in MiB.
    pub(crate) rss_mib: f64,
    /// Most resident memory so far, in MiB; of several processes, the sum of each one's most.
    pub(crate) peak_rss_mib: f64,
    /// Processor time since the start, in seconds.
    pub(crate) cpu_s: f64,
}

/// Who used the machine. Processor times of one snapshot count from the start, those of a difference from the other.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Snapshot {
    /// The server and its children.
    pub(crate) server: Option<Usage>,
    /// This process.
    pub(crate) generator: Option<Usage>,
    /// Processor time of everything else, in seconds: a busy machine makes every figure worse.
    pub(crate) others_cpu_s: Option<f64>,
}

impl Snapshot {
    /// Looks at the machine now.
    pub(crate) fn take(server_pid: Option<u32>) -> Self {
        let (server, generator) = (
            server_pid.and_then(read_usage),
            read_usage(std::process::id()),
        );
        let own: f64 = [server, generator]
            .iter()
            .flatten()
            .map(|usage| usage.cpu_s)
            .sum();
        Self {
            server,
            generator,
            others_cpu_s: read_machine_busy_s().map(|busy| busy - own),
        }
    }

    /// What was used since an earlier snapshot.
    pub(crate) fn since(self, before: Self) -> Self {
        let subtract = |after: Option<Usage>, before: Option<Usage>| {
            let (after, before) = (after?, before?);
            Some(Usage {
                cpu_s: after.cpu_s - before.cpu_s,
                ..after
            })
        };
        let others = self.others_cpu_s.zip(before.others_cpu_s);
        Self {
            server: subtract(self.server, before.server),
            generator: subtract(self.generator, before.generator),
            others_cpu_s: others.map(|(after, before)| (after - before).max(0.0)),
        }
    }
}

/// What `pid` and its children use; `None` where there is no such process, or no `/proc`.
fn read_usage(pid: u32) -> Option<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut usage = Usage {
        rss_mib: parse_mib(&status, "VmRSS:")?,
        peak_rss_mib: parse_mib(&status, "VmHWM:")?,
        cpu_s: parse_cpu_s(&stat)?,
    };
    let children =
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children
        .split_whitespace()
        .filter_map(|child| read_usage(child.parse().ok()?))
    {
        usage.rss_mib += child.rss_mib;
        usage.peak_rss_mib += child.peak_rss_mib;
        usage.cpu_s += child.cpu_s;
    }
    Some(usage)
}

fn parse_mib(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kib: f64 = line[field.len()..]
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    Some(kib / 1024.0)
}

fn parse_cpu_s(stat: &str) -> Option<f64> {
    // The command's name stands in parentheses and may hold anything; utime and stime are fields 14 and 15.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_S)
}

/// Processor time that the whole machine has spent on anything since it started, in seconds.
fn read_machine_busy_s() -> Option<f64> {
    parse_busy_s(&fs::read_to_string("/proc/stat").ok()?)
}

fn parse_busy_s(stat: &str) -> Option<f64> {
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are counted in user already.
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|ticks| ticks.parse().ok())
        .collect();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some((ticks.iter().sum::<f64>() - idle) / TICKS_PER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "42 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert_eq!(parse_cpu_s(stat), Some(2.0));
        assert_eq!(
            parse_mib("Name:\tx\nVmRSS:\t    2048 kB\n", "VmRSS:"),
            Some(2.0)
        );
        assert_eq!(parse_mib("Name:\tx\n", "VmRSS:"), None);
        let busy = parse_busy_s("cpu  100 0 100 5000 200 0 100 0 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n");
        assert_eq!(busy, Some(3.0));
    }

    #[test]
    fn this_process_uses_memory_and_no_process_uses_none() {
        let own = read_usage(std::process::id()).unwrap();
        assert!(
            own.rss_mib > 0.5 && own.peak_rss_mib >= own.rss_mib,
            "{own:?}"
        );
        assert_eq!(read_usage(u32::MAX), None);
    }
}
