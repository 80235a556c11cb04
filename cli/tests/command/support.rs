//! Running the command.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Standard output as the one JSON document that it is.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// This run, which must have ended with `code`.
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Exit code, stable code of the error and its sentence, of a run with `--json` that failed.
    pub(crate) fn failure(&self) -> (i32, String, String) {
        let json = self.json();
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        (self.code, text("code"), text("error"))
    }
}

/// The command without the settings of the environment that the tests run in.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealcast"));
    command
        .env_remove("SEALCAST_DATA")
        .env_remove("SEALCAST_STACK")
        .env("USER", "anna")
        .stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub(crate) fn sealcast<A: AsRef<std::ffi::OsStr>>(arguments: &[A]) -> Run {
    let output = command().args(arguments).output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command line whose words are separated by spaces; `{}` is `dir`.
pub(crate) fn run_in(dir: &Path, line: &str) -> Run {
    let dir = dir.to_str().unwrap();
    let example = example("");
    let example = example.to_str().unwrap();
    let words: Vec<String> = line
        .split_whitespace()
        .map(|word| word.replace("{}", dir).replace("EXAMPLE/", example))
        .collect();
    sealcast(&words)
}

/// A file of the example.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/spx-direction")
        .join(name)
}
