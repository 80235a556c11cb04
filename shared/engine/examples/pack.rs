//! Writes the packed forms of ONNX files to a folder: `pack FOLDER FILE.onnx …`. A model without one is left out.

use std::error::Error;
use std::fs;
use std::path::Path;

use engine::{LoadLimits, pack};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments.next().ok_or("expected a folder")?;
    for file in arguments {
        let file = Path::new(&file);
        let stem = file.file_stem().ok_or("expected a file")?;
        if let Ok(Some(packed)) = pack(&fs::read(file)?, &LoadLimits::default()) {
            fs::write(
                Path::new(&folder).join(stem).with_extension("packed"),
                packed,
            )?;
        }
    }
    Ok(())
}
