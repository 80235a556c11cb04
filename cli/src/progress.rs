//! A progress bar or a spinner on standard error, for jobs that turn out to be long, where a person watches.

use std::fmt;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// A job shorter than this shows no bar.
const PATIENCE: Duration = Duration::from_millis(700);

/// What is being waited for, shown until it is dropped.
#[derive(Debug)]
pub(crate) struct Shown(ProgressBar);

/// Shows what is being waited for: a store or a service, whose part of the job cannot be counted.
pub(crate) fn show(what: impl Into<String>) -> Shown {
    // Draws nothing where standard error is no terminal.
    let spinner = ProgressBar::new_spinner().with_message(what.into());
    spinner.enable_steady_tick(Duration::from_millis(100));
    Shown(spinner)
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// How far a job has come.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    done: u64,
    started: Instant,
    watched: bool,
    template: &'static str,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts a job of `total` steps (bytes, runs); 0 where that is not known.
    pub(crate) fn start(what: &'static str, total: u64) -> Self {
        Self {
            what,
            total,
            done: 0,
            started: Instant::now(),
            watched: std::io::stderr().is_terminal(),
            template: "{msg} {wide_bar} {percent}% ({eta} left)",
            bar: None,
        }
    }

    /// Starts a job of `total` things, of which a person wants to know how many are done in a second.
    pub(crate) fn counting(what: &'static str, total: u64) -> Self {
        let mut progress = Self::start(what, total);
        progress.template = "{msg} {human_pos} of {human_len} {wide_bar} {rate} ({eta} left)";
        progress
    }

    /// Counts steps.
    pub(crate) fn advance(&mut self, steps: u64) {
        self.done += steps;
        if !self.watched {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.total > 0 && self.started.elapsed() > PATIENCE {
            let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
                // What cannot be drawn is not drawn.
                let _ = write!(out, "{:.0}/s", state.per_sec());
            };
            let style = ProgressStyle::with_template(self.template);
            let style = style.map(|style| style.with_key("rate", rate));
            let bar = ProgressBar::new(self.total).with_message(self.what);
            self.bar = Some(match style {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            });
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
