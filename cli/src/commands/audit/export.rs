//! `sealcast audit export`: a copy of a stream, whole lines only.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use audit::StreamId;
use clap::Args;
use serde_json::json;

use crate::arguments::StoreArguments;
use crate::failure::Failure;
use crate::output::{Report, Text};
use crate::stores::{CopyError, Stores, StreamSource};
use crate::{files, progress};

/// Copy a stream, also while its process writes it.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The stream; not needed where there is only one.
    #[arg(long, value_parser = super::parse_stream)]
    stream: Option<StreamId>,
    /// The file to make, never overwritten; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Exports the stream to a file or to standard output.
pub(crate) fn run(arguments: &ExportArguments) -> Result<Report, Failure> {
    let streams = Stores::open(&arguments.store)?.streams();
    let stream = streams.choose(arguments.stream)?;
    if arguments.out == Path::new("-") {
        return match streams.copy(stream, &mut io::stdout().lock()) {
            // The reader has seen enough.
            Err(CopyError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Ok(Report::silent())
            }
            copied => copied
                .map(|_| Report::silent())
                .map_err(|error| describe(error, &arguments.out)),
        };
    }
    let bytes = export_to(streams.as_ref(), stream, &arguments.out)?;
    let out = arguments.out.display().to_string();
    let text = Text::new()
        .field("stream", stream)
        .field("file", &out)
        .field("bytes", bytes);
    Report::new(
        &json!({ "stream": stream, "file": out, "bytes": bytes }),
        text,
    )
}

fn export_to(streams: &dyn StreamSource, stream: StreamId, out: &Path) -> Result<u64, Failure> {
    let fail = |error: io::Error| Failure::file("create", out, &error);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .map_err(fail)?;
    let shown = progress::show(format!("copying stream {stream}"));
    let mut writer = BufWriter::new(&file);
    let exported = streams
        .copy(stream, &mut writer)
        .map_err(|error| describe(error, out))
        .and_then(|bytes| {
            writer
                .flush()
                .and_then(|()| file.sync_all())
                .and_then(|()| files::sync_parent(out))
                .map_err(fail)?;
            Ok(bytes)
        });
    drop(shown);
    if exported.is_err() {
        // Half an export is none.
        let _ = std::fs::remove_file(out);
    }
    exported
}

fn describe(error: CopyError, out: &Path) -> Failure {
    match error {
        CopyError::Source(failure) => failure,
        CopyError::Output(error) => Failure::file("write", out, &error),
    }
}
