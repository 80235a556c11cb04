//! The audit streams of any store that has the port [`AuditReader`], read a page at a time.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::Arc;

use audit::{Record, StreamId, export};
use domain::StoreError;
use domain::ports::AuditReader;
use futures::future::try_join_all;
use tokio::runtime::Runtime;

use super::streams::{CopyError, ListedStream, OpenStream, StreamSource};
use crate::failure::Failure;
use crate::progress::Progress;

/// Streams asked for at once.
const STREAMS_PAGE: usize = 1000;
/// Registrations that are read at the same time.
const REGISTRATIONS_AT_ONCE: usize = 32;
/// Records asked for at once.
const RECORDS_PAGE: usize = 500;

/// The streams behind a port.
pub(super) struct PortStreams {
    runtime: Arc<Runtime>,
    reader: Arc<dyn AuditReader>,
    place: String,
}

impl PortStreams {
    /// The streams of `reader`, which `place` names in sentences.
    pub(super) fn new(runtime: &Arc<Runtime>, reader: Arc<dyn AuditReader>, place: String) -> Self {
        Self {
            runtime: Arc::clone(runtime),
            reader,
            place,
        }
    }

    fn absent(&self, stream: StreamId) -> Failure {
        let message = format!("{}: there is no stream {stream}", self.place);
        Failure::not_found("audit.stream_not_found", message).at("--stream")
    }

    async fn describe(&self, stream: StreamId) -> Result<ListedStream, StoreError> {
        match self.reader.registration(stream).await {
            Ok(signed) => Ok(ListedStream::new(stream, Some(&signed))),
            Err(StoreError::NotFound(_) | StoreError::Corrupt(_)) => {
                Ok(ListedStream::new(stream, None))
            }
            Err(error) => Err(error),
        }
    }

    fn pages(&self, stream: StreamId) -> Result<Pages, Failure> {
        let registration = self.runtime.block_on(self.reader.registration(stream));
        let signed = registration.map_err(|error| match error {
            StoreError::NotFound(_) => self.absent(stream),
            error => error.into(),
        })?;
        Ok(Pages {
            runtime: Arc::clone(&self.runtime),
            reader: Arc::clone(&self.reader),
            stream,
            from: 0,
            bytes: export::registration_line(&signed).into(),
            ended: false,
        })
    }
}

impl StreamSource for PortStreams {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn ids(&self) -> Result<Vec<StreamId>, Failure> {
        let mut ids: Vec<StreamId> = Vec::new();
        loop {
            let page = self.reader.streams(ids.last().copied(), STREAMS_PAGE);
            let page = self.runtime.block_on(page)?;
            if page.is_empty() {
                return Ok(ids);
            }
            ids.extend(page);
        }
    }

    fn list(&self) -> Result<Vec<ListedStream>, Failure> {
        let ids = self.ids()?;
        let mut progress = Progress::start("reading registrations", ids.len() as u64);
        let mut listed = Vec::with_capacity(ids.len());
        for some in ids.chunks(REGISTRATIONS_AT_ONCE) {
            let described = try_join_all(some.iter().map(|stream| self.describe(*stream)));
            listed.extend(self.runtime.block_on(described)?);
            progress.advance(some.len() as u64);
        }
        Ok(listed)
    }

    fn open(&self, stream: StreamId) -> Result<OpenStream, Failure> {
        Ok(OpenStream {
            name: format!("{}, stream {stream}", self.place),
            bytes: 0,
            lines: Box::new(self.pages(stream)?),
        })
    }

    fn copy(&self, stream: StreamId, out: &mut dyn Write) -> Result<u64, CopyError> {
        let mut pages = self.pages(stream).map_err(CopyError::Source)?;
        let mut copied = 0;
        loop {
            let (line, _) = pages.bytes.as_slices();
            out.write_all(line).map_err(CopyError::Output)?;
            let written = line.len();
            copied += written as u64;
            pages.bytes.drain(..written);
            if pages.bytes.is_empty() && !pages.fetch().map_err(|e| CopyError::Source(e.into()))? {
                out.flush().map_err(CopyError::Output)?;
                return Ok(copied);
            }
        }
    }

    fn find(&self, stream: StreamId, seq: u64) -> Result<Record, Failure> {
        let found = self.runtime.block_on(self.reader.read(stream, seq, 1));
        let records = found.map_err(|error| match error {
            StoreError::NotFound(_) => self.absent(stream),
            error => error.into(),
        })?;
        let record = records.into_iter().find(|record| record.seq == seq);
        record.ok_or_else(|| {
            let message = format!("{}, stream {stream}: there is no event {seq}", self.place);
            Failure::not_found("audit.event_not_found", message).at("--seq")
        })
    }
}

/// A stream's lines as bytes; the next page is fetched when the one before is used up.
struct Pages {
    runtime: Arc<Runtime>,
    reader: Arc<dyn AuditReader>,
    stream: StreamId,
    from: u64,
    bytes: VecDeque<u8>,
    ended: bool,
}

impl Pages {
    /// Fetches the next page; false at the end.
    fn fetch(&mut self) -> Result<bool, StoreError> {
        if self.ended {
            return Ok(false);
        }
        let page = self.reader.read(self.stream, self.from, RECORDS_PAGE);
        let page = self.runtime.block_on(page)?;
        for record in &page {
            self.bytes.extend(export::record_line(record));
        }
        match page.last() {
            Some(last) => self.from = last.seq + 1,
            None => self.ended = true,
        }
        Ok(!self.ended)
    }
}

impl Read for Pages {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() && !self.fetch().map_err(io::Error::other)? {
            return Ok(0);
        }
        self.bytes.read(into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audit::event::{EventBody, Security};
    use audit::{SignedRegistration, Stream};
    use domain::ports::AuditAppender as _;
    use store_embedded::FileAudit;

    /// More than a page.
    const EVENTS: u64 = RECORDS_PAGE as u64 + 7;

    fn record(runtime: &Runtime, log: &FileAudit, id: u8, events: u64) -> StreamId {
        let (mut stream, registration) = Stream::open([id; 16], &[id; 32], "test", 1).unwrap();
        let signed = SignedRegistration {
            registration: registration.to_bytes().unwrap(),
            key_id: "k".to_owned(),
            signature: [id; 64],
        };
        let records: Vec<Record> = (0..events)
            .map(|n| {
                let event = Security {
                    code: "test.code".to_owned(),
                    subject: n.to_string(),
                    detail: String::new(),
                };
                stream.record(EventBody::Security(event), 1 + n).unwrap()
            })
            .collect();
        runtime.block_on(log.register(&signed)).unwrap();
        runtime.block_on(log.append(records)).unwrap();
        StreamId([id; 16])
    }

    fn prepare() -> (tempfile::TempDir, PortStreams) {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = Arc::new(runtime.unwrap());
        let log = Arc::new(FileAudit::open(dir.path()).unwrap());
        record(&runtime, &log, 1, EVENTS);
        record(&runtime, &log, 2, 1);
        let streams = PortStreams::new(&runtime, log, "the log".to_owned());
        (dir, streams)
    }

    #[test]
    fn a_stream_of_several_pages_is_copied_and_read_as_its_file_has_it() {
        let (dir, streams) = prepare();
        let stream = StreamId([1; 16]);
        let file = dir.path().join("audit").join(format!("{stream}.jsonl"));
        let file = std::fs::read(file).unwrap();
        let mut copied = Vec::new();
        let bytes = streams.copy(stream, &mut copied).unwrap();
        assert_eq!((bytes, &copied), (file.len() as u64, &file));
        let mut read = Vec::new();
        streams
            .open(stream)
            .unwrap()
            .lines
            .read_to_end(&mut read)
            .unwrap();
        assert_eq!(read, file);
        let last = streams.find(stream, EVENTS - 1).unwrap();
        assert!(file.ends_with(&export::record_line(&last)));
    }

    #[test]
    fn streams_are_listed_with_their_registrations_and_one_of_several_must_be_named() {
        let (_dir, streams) = prepare();
        let listed = streams.list().unwrap();
        assert_eq!(listed.len(), 2);
        assert_eq!(listed[1].stream, StreamId([2; 16]));
        assert_eq!(listed[1].host.as_deref(), Some("test"));
        assert_eq!(listed[1].registration_key.as_deref(), Some("k"));
        let source: Box<dyn StreamSource> = Box::new(streams);
        assert_eq!(source.choose(None).unwrap_err().code, "usage");
        assert_eq!(
            source.choose(Some(StreamId([9; 16]))).unwrap(),
            StreamId([9; 16])
        );
    }

    #[test]
    fn what_is_not_there_is_named() {
        let (_dir, streams) = prepare();
        let absent = StreamId([9; 16]);
        let code = |result: Result<Record, Failure>| result.unwrap_err().code;
        assert_eq!(code(streams.find(absent, 0)), "audit.stream_not_found");
        let past = streams.find(StreamId([2; 16]), 1);
        assert_eq!(code(past), "audit.event_not_found");
        let opened = streams.open(absent).map(|_| ()).unwrap_err();
        assert_eq!(opened.code, "audit.stream_not_found");
    }

    #[test]
    fn a_reader_that_fails_in_the_middle_is_a_failure_and_no_end() {
        struct Failing;
        #[async_trait::async_trait]
        impl AuditReader for Failing {
            async fn streams(
                &self,
                _: Option<StreamId>,
                _: usize,
            ) -> Result<Vec<StreamId>, StoreError> {
                Ok(Vec::new())
            }
            async fn registration_hours(&self) -> Result<Vec<u64>, StoreError> {
                Ok(Vec::new())
            }
            async fn registered_in(
                &self,
                _: u64,
                _: Option<StreamId>,
                _: usize,
            ) -> Result<Vec<StreamId>, StoreError> {
                Ok(Vec::new())
            }
            async fn registration(&self, _: StreamId) -> Result<SignedRegistration, StoreError> {
                Ok(SignedRegistration {
                    registration: b"{}".to_vec(),
                    key_id: "k".to_owned(),
                    signature: [0; 64],
                })
            }
            async fn read(&self, _: StreamId, _: u64, _: usize) -> Result<Vec<Record>, StoreError> {
                Err(StoreError::Unavailable("gone".to_owned()))
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let streams = PortStreams::new(
            &Arc::new(runtime.unwrap()),
            Arc::new(Failing),
            "the log".to_owned(),
        );
        let mut out = Vec::new();
        let copied = streams.copy(StreamId([1; 16]), &mut out).unwrap_err();
        let CopyError::Source(failure) = copied else {
            panic!("{copied:?}");
        };
        assert_eq!(failure.code, "store.unavailable");
        let opened = streams.open(StreamId([1; 16])).unwrap();
        let verified = crate::stream_file::find_record(opened, 0, &[]).unwrap_err();
        assert_eq!(verified.code, "store.unavailable");
    }
}
