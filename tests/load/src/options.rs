//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::request::BodyForm;

/// Longest run that is taken, in seconds.
const MAX_DURATION_S: u64 = 3600;

/// Sends keep-alive HTTP/1.1 requests to a server of this machine and reports rates and latencies.
#[derive(Debug, Clone, Parser)]
#[command(name = "load")]
pub(crate) struct Options {
    /// Address of the server; only loopback addresses are taken.
    #[arg(long, default_value = "127.0.0.1:8080", value_parser = parse_loopback)]
    pub(crate) addr: SocketAddr,
    /// File with the bearer token.
    #[arg(long)]
    pub(crate) token_file: Option<PathBuf>,
    /// File with a JSON body for /v1/predict or the Open Inference Protocol. An id in it is dropped, because
    /// the second request with it would only read the first one's answer back.
    #[arg(long)]
    pub(crate) body: PathBuf,
    /// Path of the request.
    #[arg(long, default_value = "/v1/predict")]
    pub(crate) path: String,
    /// Connections, each with one request under way.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) connections: u16,
    /// Measured time, in seconds (1 to 3600). 10 where `--requests` is not given either.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=MAX_DURATION_S))]
    pub(crate) duration_s: Option<u64>,
    /// Stops after this many requests.
    #[arg(long)]
    pub(crate) requests: Option<u64>,
    /// Time before the measured time, in seconds; its answers count nowhere but in `--receipts`.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=60))]
    pub(crate) warmup_s: u64,
    /// Threads of the generator.
    #[arg(long, default_value_t = 1, value_parser = parse_threads)]
    pub(crate) threads: usize,
    /// Gives every request an id of its own (`request_id`, or `id` under /v2).
    #[arg(long)]
    pub(crate) ids: bool,
    /// Sends the tensors of an Open Inference Protocol body as binary, and asks for binary outputs.
    #[arg(long)]
    pub(crate) binary: bool,
    /// Appends each receipt received to this file, one `STREAM:SEQ:HASH` a line.
    #[arg(long)]
    pub(crate) receipts: Option<PathBuf>,
    /// Process of the server, whose memory and processor time are reported (with its children's).
    #[arg(long)]
    pub(crate) server_pid: Option<u32>,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    /// Measured time.
    pub(crate) fn duration(&self) -> Duration {
        let default = if self.requests.is_some() {
            MAX_DURATION_S
        } else {
            10
        };
        Duration::from_secs(self.duration_s.unwrap_or(default))
    }

    /// How the body is sent.
    pub(crate) fn form(&self) -> BodyForm {
        BodyForm {
            own_ids: self.ids,
            binary: self.binary,
        }
    }
}

fn parse_loopback(text: &str) -> Result<SocketAddr, String> {
    let addr: SocketAddr = text
        .parse()
        .map_err(|_| "expected IP:PORT, for example 127.0.0.1:8080 or [::1]:8080".to_owned())?;
    if addr.ip().is_loopback() {
        Ok(addr)
    } else {
        Err(format!(
            "{} is not a loopback address: load is only put on this machine",
            addr.ip()
        ))
    }
}

fn parse_threads(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|threads| (1..=64).contains(threads))
        .ok_or_else(|| "expected 1 to 64".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_taken() {
        assert!(parse_loopback("127.0.0.1:8080").is_ok());
        assert!(parse_loopback("[::1]:8080").is_ok());
        for refused in [
            "10.0.0.1:80",
            "0.0.0.0:80",
            "192.168.1.1:80",
            "8.8.8.8:80",
            "[2001:db8::1]:80",
        ] {
            assert!(
                parse_loopback(refused)
                    .unwrap_err()
                    .contains("not a loopback address"),
                "{refused}"
            );
        }
        assert!(parse_loopback("localhost:8080").is_err());
    }

    #[test]
    fn a_run_without_any_bound_lasts_ten_seconds() {
        let parse =
            |args: &[&str]| Options::parse_from([&["load", "--body", "b.json"], args].concat());
        assert_eq!(parse(&[]).duration(), Duration::from_secs(10));
        assert_eq!(
            parse(&["--duration-s", "3"]).duration(),
            Duration::from_secs(3)
        );
        assert_eq!(
            parse(&["--requests", "5"]).duration(),
            Duration::from_secs(MAX_DURATION_S)
        );
    }
}
