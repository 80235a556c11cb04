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

/// The item in a line of a log; `None` where the line holds none. What a log service puts around it (a time before,
/// anything after) is passed over.
///
/// # Errors
/// [`ImportError`] where the line begins to hold one and does not.
pub fn parse_line(text: &str) -> Option<Result<SpillItem, ImportError>> {
    let start = text.find(&format!("{{\"code\":\"{CODE}\""))?;
    let mut lines = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Line>();
    let malformed = |reason: String| Some(Err(ImportError::Malformed(reason)));
    let line = match lines.next() {
        Some(Ok(line)) => line,
        Some(Err(error)) => return malformed(error.to_string()),
        None => return malformed("it ends at once".to_owned()),
    };
    let bytes = match STANDARD.decode(&line.bytes) {
        Ok(bytes) => bytes,
        Err(error) => return malformed(format!("`bytes`: {error}")),
    };
    let item = SpillItem::parse(&line.item, &bytes);
    Some(item.map_err(|fault| ImportError::Item {
        name: line.item,
        fault,
    }))
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
        let lines = SpilledLines::new(output.clone());
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
            let found = parse_line(line).unwrap().unwrap();
            assert_eq!(found, SpillItem::of_records(vec![record.clone()]).unwrap());
            let wrapped = format!("2026-11-22T10:00:00Z stdout F {line} trailing");
            assert_eq!(parse_line(&wrapped).unwrap().unwrap(), found);
        }
    }

    #[test]
    fn a_line_that_was_cut_or_altered_is_said_to_be_so_and_others_are_passed_over() {
        let (_, text) = written();
        let line = text.lines().next().unwrap();
        for cut in [30, 200, line.len() - 2] {
            assert!(
                matches!(
                    parse_line(&line[..cut]),
                    Some(Err(ImportError::Malformed(_)))
                ),
                "{cut}"
            );
        }
        let altered = line.replace("-tail-0000", "-tail-0001");
        assert!(matches!(
            parse_line(&altered),
            Some(Err(ImportError::Item { .. }))
        ));
        for other in ["", "recorded", "{\"code\":\"audit.recovered\"}"] {
            assert!(parse_line(other).is_none(), "{other}");
        }
    }
}
