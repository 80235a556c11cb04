//! CSV as a tensor: a row of the file is a row of the batch.

use std::path::Path;

use engine::{Tensor, TensorSpec};

use crate::elements::{self, Element};
use crate::failure::Failure;
use crate::table::{Header, Table};

/// Reads a file; its cells, row after row, fill the input's shape.
pub(super) fn read(path: &Path, excluded: &[String], spec: &TensorSpec) -> Result<Tensor, Failure> {
    let mut table = Table::open(path, Header::Guessed, excluded)?;
    let columns = table.width();
    // What one row of the batch takes, where the graph says it.
    let row: Option<i64> = spec.shape.get(1..).and_then(|dims| {
        dims.iter().try_fold(1_i64, |product, dim| {
            (*dim >= 0).then(|| product.saturating_mul(*dim))
        })
    });
    if !spec.shape.is_empty() && row.is_some_and(|row| row != columns as i64) {
        let (name, row) = (&spec.name, row.unwrap_or_default());
        let names = table
            .names()
            .map_or_else(String::new, |names| format!(" ({})", names.join(", ")));
        let message = format!("expected {row} columns for input `{name}`, found {columns}{names}");
        return Err(table.refuse(&message));
    }
    let mut data = elements::empty(spec.datatype);
    let mut rows = 0;
    while let Some(row) = table.next_row()? {
        for (column, cell) in row.cells.iter().enumerate() {
            elements::push(&mut data, Element::Text(cell))
                .map_err(|message| table.blame(row.line, column, &message))?;
        }
        rows += 1;
    }
    if rows == 0 {
        return Err(table.refuse("expected at least one row below the header"));
    }
    let shape = match (spec.shape.len(), row) {
        (1, _) => vec![rows],
        (0 | 2, _) => vec![rows, columns],
        (_, Some(_)) => spec
            .shape
            .iter()
            .enumerate()
            .map(|(at, dim)| if at == 0 { rows } else { *dim as usize })
            .collect(),
        (_, None) => {
            let message = format!(
                "input `{}` has several variable dimensions: give a .npy file",
                spec.name
            );
            return Err(table.refuse(&message));
        }
    };
    let name = spec.name.clone();
    Ok(Tensor { name, shape, data })
}
