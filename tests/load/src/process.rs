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

/// What `pid` and its children use; `None` where there is no such process, or no `/proc`.
pub(crate) fn read_usage(pid: u32) -> Option<Usage> {
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
