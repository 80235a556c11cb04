//! What a command says, for people and for machines: the one place where it is formatted and printed.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use serde::Serialize;
use serde_json::Value;

use crate::failure::{Exit, Failure};

/// What a command has to say at its end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    json: String,
    text: String,
    exit: Exit,
}

impl Report {
    /// A report with its two forms.
    pub(crate) fn new(value: &impl Serialize, text: Text) -> Result<Self, Failure> {
        Ok(Self {
            json: to_json(value)?,
            text: text.0,
            exit: Exit::Done,
        })
    }

    /// A document that is the same for people and machines, apart from its white space.
    pub(crate) fn document(json: String, text: String) -> Self {
        Self {
            json,
            text,
            exit: Exit::Done,
        }
    }

    /// Nothing to say: what was asked for has gone to standard output already.
    pub(crate) fn silent() -> Self {
        Self::document(String::new(), String::new())
    }

    /// Ends the process with this code although there is a report.
    pub(crate) fn ending_with(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

/// Compact JSON; single-precision numbers are written as their shortest decimals.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value)
        .map_err(|error| Failure::internal(format!("the report cannot be written: {error}")))
}

/// JSON with a field a line; lists of numbers and text stay on their field's line.
pub(crate) fn to_readable_json(value: &Value) -> String {
    let mut text = String::new();
    write_readable(&mut text, value, "\n");
    text
}

/// `line` is the line feed with the white space that the value's own line starts with.
fn write_readable(text: &mut String, value: &Value, line: &str) {
    let deeper = format!("{line}  ");
    let nested = |value: &Value| value.is_object() || value.is_array();
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('{');
            for (at, (name, value)) in fields.iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                let _ = write!(text, "{comma}{deeper}{}: ", Value::from(name.as_str()));
                write_readable(text, value, &deeper);
            }
            let _ = write!(text, "{line}}}");
        }
        Value::Array(items) if items.iter().any(nested) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                let _ = write!(text, "{comma}{deeper}");
                write_readable(text, item, &deeper);
            }
            let _ = write!(text, "{line}]");
        }
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

/// Text with its control characters written as escapes, but for those that are kept: names, labels and errors are what
/// callers, files and servers say, and shall neither forge a line nor steer a terminal.
pub(crate) fn printable(text: &str, kept: &[char]) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && !kept.contains(&character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Text for people: lines, aligned fields and tables.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Text(String);

/// Width of the names of fields.
const NAME_WIDTH: usize = 18;

impl Text {
    /// No text yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The text itself.
    pub(crate) fn into_string(self) -> String {
        self.0
    }

    /// A line of its own, or several.
    pub(crate) fn line(mut self, lines: impl fmt::Display) -> Self {
        let lines = printable(&lines.to_string(), &['\n']);
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{lines}");
        self
    }

    /// A named value; the values of one report stand below each other.
    pub(crate) fn field(mut self, name: &str, value: impl fmt::Display) -> Self {
        let value = printable(&value.to_string(), &[]);
        let _ = writeln!(self.0, "{name:<NAME_WIDTH$} {value}");
        self
    }

    /// A named value, where there is one.
    pub(crate) fn optional(self, name: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    /// Rows below a title, each column as wide as its longest cell; nothing where there is no row.
    pub(crate) fn table(mut self, title: &str, rows: &[Vec<String>]) -> Self {
        if rows.is_empty() {
            return self;
        }
        let print = |row: &Vec<String>| -> Vec<String> {
            row.iter().map(|cell| printable(cell, &[])).collect()
        };
        let rows: Vec<Vec<String>> = rows.iter().map(print).collect();
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|at| {
                rows.iter()
                    .filter_map(|row| row.get(at))
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let _ = writeln!(self.0, "{title}");
        for row in &rows {
            let mut line = String::from(" ");
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, " {cell:<width$} ");
            }
            let _ = writeln!(self.0, "{}", line.trim_end());
        }
        self
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people: results on standard output, errors on standard error.
    Text,
    /// For machines: one JSON object on standard output, errors too.
    Json,
}

/// Prints the outcome of a command and gives the exit code. A reader that went away (`| head`) is no error.
pub(crate) fn print(outcome: &Result<Report, Failure>, form: Form) -> Exit {
    let (exit, printed) = match (outcome, form) {
        (Ok(report), Form::Json) => (report.exit, to_stdout(&report.json)),
        (Ok(report), Form::Text) => (report.exit, to_stdout(&report.text)),
        (Err(failure), Form::Json) => (
            failure.exit,
            to_stdout(&to_json(failure).unwrap_or_else(|error| error.message)),
        ),
        (Err(failure), Form::Text) => (failure.exit, to_stderr(failure)),
    };
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe && exit == Exit::Done => {
            Exit::Unavailable
        }
        _ => exit,
    }
}

fn to_stdout(text: &str) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn to_stderr(failure: &Failure) -> io::Result<()> {
    let sentence = failure.message.trim_end();
    let place = match &failure.field {
        Some(field) if !sentence.contains(field.as_str()) => format!("{field}: "),
        _ => String::new(),
    };
    let said = format!("error: {place}{sentence} [{}]", failure.code);
    writeln!(io::stderr(), "{}", printable(&said, &['\n', '\t']))
}

/// Says something that is neither a result nor an error on standard error.
pub(crate) fn note(message: impl fmt::Display) {
    // A note that cannot be printed changes nothing.
    let message = printable(&message.to_string(), &['\n']);
    let _ = writeln!(io::stderr(), "note: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned()],
            vec!["bcd".to_owned(), "2".to_owned()],
        ];
        let text = Text::new().field("name", 1).table("rows", &rows);
        assert_eq!(text.0, "name               1\nrows\n  a    1\n  bcd  2\n");
    }

    #[test]
    fn what_others_say_forges_no_line_and_steers_no_terminal() {
        let said = "a\n\u{1b}[2Jb\u{9b}";
        let text = Text::new()
            .field("name", said)
            .table("rows", &[vec![said.to_owned()]])
            .line(said);
        let shown = "a\\n\\u{1b}[2Jb\\u{9b}";
        let expected =
            format!("name               {shown}\nrows\n  {shown}\na\n\\u{{1b}}[2Jb\\u{{9b}}\n");
        assert_eq!(text.0, expected);
    }

    #[test]
    fn readable_json_is_the_same_document() {
        let value = serde_json::json!({"a": [1, "x\n"], "b": {"c": [{"d": null}, []], "e": {}}});
        let text = to_readable_json(&value);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        assert!(
            text.starts_with("{\n  \"a\": [1,\"x\\n\"],\n  \"b\": {\n    \"c\": [\n"),
            "{text}"
        );
    }

    #[test]
    fn a_failure_as_json_has_its_details_beside_its_code() {
        let failure = Failure::refused("a.b", "wrong").at("x").with("line", 3);
        assert_eq!(
            to_json(&failure).unwrap(),
            r#"{"error":"wrong","code":"a.b","field":"x","line":3}"#
        );
    }
}
