//! One engine with one model, asked line by line: what `benches/engine/bench.py` talks to.
//!
//! | Asked | Answered |
//! |---|---|
//! | `load` | the time of another load, in microseconds |
//! | `measure ROWS MS` | median, 99th percentile (microseconds) and number of the calls made within MS milliseconds |
//! | `answers ROWS` | the last float output for the first rows |
//! | `memory` | the process's largest resident set so far, in KiB |

use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;
use std::time::{Duration, Instant};

/// Fewest calls of a measurement, whatever time they take.
const MIN_CALLS: usize = 5;

/// What an engine does with a model.
pub(crate) trait Contender: Sized {
    /// A batch as the engine takes it.
    type Batch;
    /// Reads a model's file.
    fn load(file: &Path) -> Result<Self, Box<dyn Error>>;
    /// Elements of one row.
    fn row_size(&self) -> usize;
    /// Makes a batch of rows that lie one after the other.
    fn batch(&self, rows: usize, values: &[f32]) -> Result<Self::Batch, Box<dyn Error>>;
    /// Runs the model.
    fn run(&mut self, batch: &Self::Batch) -> Result<(), Box<dyn Error>>;
    /// Runs the model and gives its last float output.
    fn answers(&mut self, batch: &Self::Batch) -> Result<Vec<f32>, Box<dyn Error>>;
}

/// Serves one model to the end of the input: `PROGRAM MODEL ROWS`, where ROWS is a file of little-endian f32.
pub(crate) fn serve<C: Contender>() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(model), Some(rows)) = (arguments.next(), arguments.next()) else {
        return Err("two arguments are taken: MODEL ROWS".into());
    };
    let mut contender = C::load(Path::new(&model))?;
    let bytes = std::fs::read(rows)?;
    let values: Vec<f32> = bytes
        .as_chunks()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    for line in stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let reply = match *words {
            ["load"] => {
                let before = Instant::now();
                let other = C::load(Path::new(&model))?;
                let taken = before.elapsed();
                drop(other);
                format!("{:.3}", taken.as_secs_f64() * 1e6)
            }
            ["measure", rows, time] => {
                let time = Duration::from_millis(time.parse()?);
                measure(&mut contender, &values, rows.parse()?, time)?
            }
            ["answers", rows] => {
                let rows: usize = rows.parse()?;
                let batch = contender.batch(rows, &values[..rows * contender.row_size()])?;
                let found = contender.answers(&batch)?;
                let words: Vec<String> = found.iter().map(ToString::to_string).collect();
                words.join(" ")
            }
            ["memory"] => peak_memory()?,
            _ => return Err(format!("`{line}` is not understood").into()),
        };
        let mut out = stdout().lock();
        writeln!(out, "{reply}")?;
        out.flush()?;
    }
    Ok(())
}

fn measure<C: Contender>(
    contender: &mut C,
    values: &[f32],
    rows: usize,
    time: Duration,
) -> Result<String, Box<dyn Error>> {
    // Another batch each time: on one that repeats, branches are foretold.
    let batches = values
        .chunks_exact(rows * contender.row_size())
        .map(|values| contender.batch(rows, values))
        .collect::<Result<Vec<_>, _>>()?;
    let Some(first) = batches.first() else {
        return Err(format!("fewer than {rows} rows are there").into());
    };
    contender.run(first)?;
    let mut times = Vec::new();
    let start = Instant::now();
    for batch in batches.iter().cycle() {
        let before = Instant::now();
        contender.run(batch)?;
        times.push(before.elapsed().as_secs_f64() * 1e6);
        if times.len() >= MIN_CALLS && start.elapsed() >= time {
            break;
        }
    }
    times.sort_by(f64::total_cmp);
    let (median, slow) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    Ok(format!("{median:.3} {slow:.3} {}", times.len()))
}

fn peak_memory() -> Result<String, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next());
    Ok(peak.ok_or("no VmHWM in /proc/self/status")?.to_owned())
}
