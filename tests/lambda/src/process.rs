//! A function's binary, started as Lambda starts it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;

use crate::runtime_api::RuntimeApi;

/// What Lambda sets for every function.
fn environment(api: &RuntimeApi) -> [(&'static str, String); 6] {
    [
        ("AWS_LAMBDA_RUNTIME_API", api.addr().to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", "test".to_owned()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "7".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769".to_owned()),
        ("AWS_REGION", "eu-west-1".to_owned()),
        ("TZ", "UTC".to_owned()),
    ]
}

/// A running function; ended with its last owner.
pub struct Function {
    child: Child,
    started: Instant,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Function {
    /// Starts the binary against `api`, with these variables beside Lambda's own and no others.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(
        binary: &Path,
        arguments: &[String],
        api: &RuntimeApi,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(binary);
        command
            .args(arguments)
            .env_clear()
            .envs(environment(api))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let started = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("{} cannot be started", binary.display()))?;
        let output = child.stdout.take().context("standard output is a pipe")?;
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                lines
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        });
        Ok(Self {
            child,
            started,
            log,
            reader: Some(reader),
        })
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard output so far, a line each.
    pub fn log(&self) -> Vec<String> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Those lines that are JSON.
    pub fn log_objects(&self) -> Vec<Value> {
        let lines = self.log();
        lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Sends SIGTERM, as Lambda does at the end of an environment.
    ///
    /// # Errors
    /// Where the signal cannot be sent.
    pub fn terminate(&self) -> anyhow::Result<()> {
        let sent = Command::new("kill").arg(self.pid().to_string()).status()?;
        anyhow::ensure!(sent.success(), "kill: {sent}");
        Ok(())
    }

    /// Waits until it has ended by itself and its log is whole.
    ///
    /// # Errors
    /// Where it runs longer than `limit`.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                if let Some(reader) = self.reader.take() {
                    // The thread reads to the end of the pipe and does nothing else.
                    let _ = reader.join();
                }
                return Ok(status);
            }
            anyhow::ensure!(Instant::now() < until, "it still runs after {limit:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The most memory that it held so far, in KiB; `None` where the system does not tell.
    pub fn most_memory_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
