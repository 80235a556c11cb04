//! CSV files, row by row: some columns left out, the rest in the file's order.

use std::fs::File;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};

use crate::failure::Failure;

/// Whether the first row of a file names its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// It does.
    Required,
    /// It does where none of its cells is a number.
    Guessed,
}

/// A CSV file that is being read.
pub(crate) struct Table {
    reader: csv::Reader<File>,
    place: String,
    names: Option<Vec<String>>,
    kept: Vec<usize>,
    first: Option<StringRecord>,
}

/// One row: the cells of the columns that were not left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its line in the file, from 1.
    pub(crate) line: u64,
    /// The cells, without white space around them.
    pub(crate) cells: Vec<String>,
}

impl Table {
    /// Opens a file without the columns of these names, each of which must be there.
    pub(crate) fn open(path: &Path, header: Header, excluded: &[String]) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
        let mut table = Self {
            reader: ReaderBuilder::new()
                .has_headers(false)
                .trim(Trim::All)
                .from_reader(file),
            place: path.display().to_string(),
            names: None,
            kept: Vec::new(),
            first: None,
        };
        let Some(first) = table.read()? else {
            return Err(table.refuse("expected at least one row, found none"));
        };
        let cells: Vec<String> = first.iter().map(str::to_owned).collect();
        let mut cells = cells;
        if let Some(cell) = cells.first_mut() {
            // A byte order mark is no part of a name.
            *cell = cell.trim_start_matches('\u{feff}').to_owned();
        }
        let named = header == Header::Required || cells.iter().all(|cell| !is_number(cell));
        table.kept = (0..cells.len()).collect();
        if named {
            table.exclude(&cells, excluded)?;
        } else if let Some(name) = excluded.first() {
            let message = format!("column {name:?} cannot be left out: the file has no header");
            return Err(table.refuse(&message));
        } else {
            table.first = Some(first);
        }
        Ok(table)
    }

    fn exclude(&mut self, names: &[String], excluded: &[String]) -> Result<(), Failure> {
        for name in excluded {
            if !names.contains(name) {
                let message = format!("has no column {name:?}; it has {}", names.join(", "));
                return Err(self.refuse(&message).at("--exclude"));
            }
        }
        for (at, name) in names.iter().enumerate() {
            if names.iter().position(|other| other == name) != Some(at) {
                return Err(self.refuse(&format!("column {name:?} stands there twice")));
            }
        }
        self.kept.retain(|at| !excluded.contains(&names[*at]));
        let kept = self.kept.iter().map(|at| names[*at].clone()).collect();
        self.names = Some(kept);
        Ok(())
    }

    /// The names of the columns, where the file has a header.
    pub(crate) fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// How many columns each row has.
    pub(crate) fn width(&self) -> usize {
        self.kept.len()
    }

    /// The next row.
    pub(crate) fn next_row(&mut self) -> Result<Option<Row>, Failure> {
        let record = match self.first.take() {
            Some(first) => Some(first),
            None => self.read()?,
        };
        Ok(record.map(|record| Row {
            line: record.position().map_or(0, csv::Position::line),
            cells: self
                .kept
                .iter()
                .map(|at| record.get(*at).unwrap_or_default().to_owned())
                .collect(),
        }))
    }

    /// A failure at a cell.
    pub(crate) fn blame(&self, line: u64, column: usize, message: &str) -> Failure {
        let name = match &self.names {
            Some(names) => names.get(column).cloned().unwrap_or_default(),
            None => (self.kept.get(column).copied().unwrap_or(column) + 1).to_string(),
        };
        let message = format!("{}, line {line}, column {name}: {message}", self.place);
        Failure::refused("table.cell", message)
            .at(name)
            .with("line", line)
    }

    /// A failure of the file as a whole.
    pub(crate) fn refuse(&self, message: &str) -> Failure {
        Failure::refused("table.malformed", format!("{}: {message}", self.place)).at(&self.place)
    }

    fn read(&mut self) -> Result<Option<StringRecord>, Failure> {
        let mut record = StringRecord::new();
        match self.reader.read_record(&mut record) {
            Ok(true) => Ok(Some(record)),
            Ok(false) => Ok(None),
            Err(error) => Err(match error.kind() {
                csv::ErrorKind::UnequalLengths {
                    pos,
                    expected_len,
                    len,
                } => {
                    let line = pos.as_ref().map_or(0, csv::Position::line);
                    let message =
                        format!("line {line}: expected {expected_len} cells, found {len}");
                    self.refuse(&message).with("line", line)
                }
                _ => self.refuse(&error.to_string()),
            }),
        }
    }
}

fn is_number(cell: &str) -> bool {
    cell.parse::<f64>().is_ok()
}

/// Whether a cell holds no value.
pub(crate) fn is_missing(cell: &str) -> bool {
    cell.is_empty()
        || ["nan", "na", "null"]
            .iter()
            .any(|word| cell.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(content: &str, header: Header, excluded: &[&str]) -> Result<Table, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, content).unwrap();
        let excluded: Vec<String> = excluded.iter().map(|name| (*name).to_owned()).collect();
        Table::open(&path, header, &excluded)
    }

    #[test]
    fn a_header_is_told_by_having_no_number_in_it() {
        let mut table = open("\u{feff}a,b\n1, 2\n", Header::Guessed, &["a"]).unwrap();
        assert_eq!(table.names().unwrap(), ["b"]);
        let row = table.next_row().unwrap().unwrap();
        assert_eq!((row.line, row.cells), (2, vec!["2".to_owned()]));
        assert_eq!(table.next_row().unwrap(), None);

        let mut table = open("2017-01-01,2\n", Header::Guessed, &[]).unwrap();
        assert_eq!((table.names(), table.width()), (None, 2));
        assert_eq!(table.next_row().unwrap().unwrap().line, 1);
    }

    #[test]
    fn a_row_that_is_too_long_and_a_column_that_is_not_there_are_named() {
        let mut table = open("a,b\n1,2,3\n", Header::Required, &[]).unwrap();
        let error = table.next_row().unwrap_err();
        assert!(
            error.message.ends_with("line 2: expected 2 cells, found 3"),
            "{}",
            error.message
        );
        let error = open("a,b\n", Header::Required, &["c"])
            .map(|_| ())
            .unwrap_err();
        assert!(
            error.message.ends_with("has no column \"c\"; it has a, b"),
            "{}",
            error.message
        );
        assert!(open("a,a\n", Header::Required, &[]).is_err());
        assert!(open("", Header::Guessed, &[]).is_err());
    }
}
