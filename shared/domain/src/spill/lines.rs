//! The last resort: an item as lines of the process's own log, and reading them back from it.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::item::{SpillContent, SpillFault, SpillItem};
use crate::StoreError;
use crate::ports::SpillWriter;

/// What says in a log that a line is a spilled item. It stands first in its line.
const CODE: &str = "audit.spilled";

/// A line of the log that holds an item.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    code: String,
    level: String,
    message: String,
    /// The item's name.
    item: String,
    /// Its bytes, base64.
    bytes: String,
}

/// Why a line that says that it is a spilled item holds none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The line is cut, or not as it was written.
    #[error("a spilled item that cannot be read: {0}")]
    Malformed(String),
    /// The item is damaged.
    #[error("the spilled item {name}: {fault}")]
    Item {
        /// Its name.
        name: String,
        /// What is wrong with it.
        fault: SpillFault,
    },
}

/// Writes items as lines of a log, a record a line: `{"code":"audit.spilled",…,"item":"…","bytes":"base64"}`.
///
/// How durable they are is for whoever keeps the log to say.
pub struct SpilledLines {
    output: Mutex<Box<dyn Write + Send>>,
}

impl SpilledLines {
    /// Writes to `output`, which is flushed after each item.
    pub fn new(output: impl Write + Send + 'static) -> Self {
        Self {
            output: Mutex::new(Box::new(output)),
        }
    }
}

#[async_trait]
impl SpillWriter for SpilledLines {
    async fn put(&self, item: &SpillItem) -> Result<(), StoreError> {
        // One line has to stay below what log services take: 256 KB.
        let single: Vec<SpillItem> = match item.content() {
            SpillContent::Registration(_) => vec![item.clone()],
            SpillContent::Records(records) => records
                .iter()
                .map(|record| SpillItem::of_records(vec![record.clone()]))
                .collect::<Result<_, _>>()?,
        };
        let mut lines = Vec::new();
        for item in single {
            write_line(&item, &mut lines)
                .map_err(|error| StoreError::Unavailable(format!("write a line: {error}")))?;
        }
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let written = output.write_all(&lines).and_then(|()| output.flush());
        written.map_err(|error| {
            StoreError::OutcomeUnknown(format!("write spilled events to the log: {error}"))
        })
    }
}

fn write_line(item: &SpillItem, lines: &mut Vec<u8>) -> io::Result<()> {
    let line = Line {
        code: CODE.to_owned(),
        level: "ERROR".to_owned(),
        message: "neither the audit log nor the spill takes this: import it from here".to_owned(),
        item: item.name().to_string(),
        bytes: STANDARD.encode(item.to_bytes()),
    };
    serde_json::to_writer(&mut *lines, &line)?;
    lines.push(b'\n');
    Ok(())
}

/// The items in a line of a log, each with what is wrong with it; none where the line holds none. What a log service puts
/// around them (a time before, anything after) is passed over, also where it put the line into a JSON string, or several
/// of them into one line.
pub fn items_in(line: &str) -> Vec<Result<SpillItem, ImportError>> {
    // What was written holds no backslash: those that are there came with a string around it.
    let line = line.replace('\\', "");
    let start = format!("{{\"code\":\"{CODE}\"");
    let starts = line.match_indices(&start);
    starts.map(|(at, _)| parse(&line[at..])).collect()
}

/// The item that the text begins with.
fn parse(text: &str) -> Result<SpillItem, ImportError> {
    let mut lines = serde_json::Deserializer::from_str(text).into_iter::<Line>();
    let line = match lines.next() {
        Some(Ok(line)) => line,
        Some(Err(error)) => return Err(ImportError::Malformed(error.to_string())),
        None => return Err(ImportError::Malformed("it ends at once".to_owned())),
    };
    let bytes = STANDARD
        .decode(&line.bytes)
        .map_err(|error| ImportError::Malformed(format!("`bytes`: {error}")))?;
    SpillItem::parse(&line.item, &bytes).map_err(|fault| ImportError::Item {
        name: line.item,
        fault,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use audit::event::Security;
    use audit::{EventBody, Stream};
    use futures::FutureExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written() -> (SpillItem, String) {
        let (mut stream, _) = Stream::open([7; 16], &[9; 32], "host", 1).unwrap();
        let records = (0..3).map(|n| {
            let event = Security {
                code: "c".to_owned(),
                subject: format!("\"{n}\""),
                detail: "é".repeat(30_000),
            };
            stream.record(EventBody::Security(event), n).unwrap()
        });
        let item = SpillItem::of_records(records.collect()).unwrap();
        let output = Output::default();
        // Nothing passes through before it is flushed.
        let lines = SpilledLines::new(io::BufWriter::with_capacity(1 << 20, output.clone()));
        lines.put(&item).now_or_never().unwrap().unwrap();
        let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        (item, text)
    }

    #[test]
    fn each_record_is_a_line_that_a_log_service_takes_and_reads_back() {
        let (item, text) = written();
        let SpillContent::Records(records) = item.content() else {
            panic!("records")
        };
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), records.len());
        for (line, record) in lines.iter().zip(records) {
            assert!(line.len() < 256_000, "{}", line.len());
            let found = SpillItem::of_records(vec![record.clone()]).unwrap();
            assert_eq!(items_in(line), [Ok(found.clone())]);
            let wrapped = format!("2026-11-22T10:00:00Z stdout F {line} trailing");
            assert_eq!(items_in(&wrapped), [Ok(found)]);
        }
    }

    #[test]
    fn lines_that_a_log_service_gives_as_json_strings_read_back_however_many_stand_in_one() {
        let (_, text) = written();
        let lines: Vec<&str> = text.lines().collect();
        let items: Vec<_> = lines.iter().flat_map(|line| items_in(line)).collect();
        assert_eq!(items.len(), 3);
        let events = lines
            .iter()
            .map(|line| serde_json::json!({"timestamp": 1, "message": format!("time\t{line}\n")}));
        let exported = serde_json::json!({ "events": events.collect::<Vec<_>>() });
        assert_eq!(items_in(&exported.to_string()), items);
        let twice = serde_json::Value::from(exported.to_string()).to_string();
        assert_eq!(items_in(&twice), items);
    }

    #[test]
    fn a_line_that_was_cut_or_altered_is_said_to_be_so_and_others_are_passed_over() {
        let (_, text) = written();
        let line = text.lines().next().unwrap();
        for cut in [30, 200, line.len() - 2] {
            let found = items_in(&line[..cut]);
            let malformed = matches!(found[..], [Err(ImportError::Malformed(_))]);
            assert!(malformed, "{cut}: {found:?}");
        }
        let altered = items_in(&line.replace("-tail-0000", "-tail-0001"));
        assert!(matches!(altered[..], [Err(ImportError::Item { .. })]));
        for other in ["", "recorded", "{\"code\":\"audit.recovered\"}"] {
            assert_eq!(items_in(other), [], "{other}");
        }
    }
}
