//! `sealcast audit export`: a copy of a stream, whole lines only.

use std::fs::OpenOptions;
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use audit::StreamId;
use clap::Args;
use serde_json::json;
use store_embedded::ExportError;

use crate::arguments::DataDir;
use crate::failure::Failure;
use crate::files;
use crate::output::{Report, Text};

/// Copy a stream, also while the server writes it.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    #[command(flatten)]
    data: DataDir,
    /// The stream; not needed where there is only one.
    #[arg(long, value_parser = parse_stream)]
    stream: Option<StreamId>,
    /// The file to make, never overwritten; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn parse_stream(text: &str) -> Result<StreamId, String> {
    StreamId::parse(text).ok_or_else(|| "expected 32 lower-case hexadecimal digits".to_owned())
}

/// Exports the stream to a file or to standard output.
pub(crate) fn run(arguments: &ExportArguments) -> Result<Report, Failure> {
    arguments.data.check()?;
    let data = &arguments.data.path;
    let stream = match arguments.stream {
        Some(stream) => stream,
        None => find_only(data)?,
    };
    if arguments.out == Path::new("-") {
        let exported = store_embedded::export_stream(data, stream, io::stdout().lock());
        return match exported {
            // The reader has seen enough.
            Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Ok(Report::silent())
            }
            exported => exported
                .map(|_| Report::silent())
                .map_err(|error| describe(&error, &arguments.out)),
        };
    }
    let bytes = export_to(data, stream, &arguments.out)?;
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

fn export_to(data: &Path, stream: StreamId, out: &Path) -> Result<u64, Failure> {
    let fail = |error: io::Error| Failure::file("create", out, &error);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .map_err(fail)?;
    let exported = store_embedded::export_stream(data, stream, BufWriter::new(&file))
        .map_err(|error| describe(&error, out))
        .and_then(|bytes| {
            file.sync_all()
                .and_then(|()| files::sync_parent(out))
                .map_err(fail)?;
            Ok(bytes)
        });
    if exported.is_err() {
        // Half an export is none.
        let _ = std::fs::remove_file(out);
    }
    exported
}

fn find_only(data: &Path) -> Result<StreamId, Failure> {
    let streams = store_embedded::list_streams(data)?;
    match streams.as_slice() {
        [stream] => Ok(*stream),
        [] => {
            let message = format!("{}: holds no audit stream", data.display());
            Err(Failure::not_found("audit.stream_not_found", message).at("--data"))
        }
        many => {
            let message = format!(
                "{} holds {} streams: name one with --stream; `sealcast audit streams` lists them",
                data.display(),
                many.len()
            );
            Err(Failure::usage("--stream", message))
        }
    }
}

fn describe(error: &ExportError, out: &Path) -> Failure {
    match error {
        ExportError::NotFound(_) => {
            Failure::not_found("audit.stream_not_found", error.to_string()).at("--stream")
        }
        ExportError::Read { path, source } => Failure::file("read", path, source),
        ExportError::Write(source) => Failure::file("write", out, source),
    }
}
