//! Runs models for the tests of `tests/zoo`: one job a line on the standard input, one report a line on the
//! standard output, both JSON; tensors travel as `.npy` files.
//!
//! ```text
//! {"model": "m.onnx", "runs": [{"inputs": [{"name": "x", "file": "x.npy"}], "outputs": "folder/prefix"}]}
//! {"unsupported": [..], "load": {"code": "..", "message": ".."} or null, "load_us": 812,
//!  "runs": [{"us": 5, "outputs": [{"name": "y", "file": "folder/prefix.0.npy"}]} or {"error": ".."}]}
//! ```
//!
//! A job may also ask for contributions: `"explain": {"background": {"name", "file"}, "input": {"name", "file"},
//! "outputs": "folder/prefix"}`; the report's `explain` then has the files of `contributions`
//! `[rows, features, scores]` and `expectation` `[scores]`, or an `error`.
//!
//! A fault of a model stands in its report; a fault of a job (a file that cannot be read) ends the program.

mod npy;

use std::error::Error;
use std::fs;
use std::io::{BufRead, Write, stdin, stdout};
use std::time::Instant;

use engine::{Explainer, LoadLimits, Model, Tensor, TensorData, inspect};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    // A model's panic is caught and reported; its message need not be printed too.
    std::panic::set_hook(Box::new(|_| ()));
    let mut out = stdout().lock();
    for line in stdin().lock().lines() {
        let job: Value = serde_json::from_str(&line?)?;
        let report = run_job(&job)?;
        writeln!(out, "{report}")?;
        out.flush()?;
    }
    Ok(())
}

/// Loads the job's model and makes its runs.
fn run_job(job: &Value) -> Result<Value, Box<dyn Error>> {
    let limits = LoadLimits::default();
    let onnx = fs::read(text(job, "model")?)?;
    let unsupported = match inspect(&onnx, &limits) {
        Ok(inspection) => serde_json::to_value(inspection.unsupported)?,
        Err(_) => json!([]),
    };
    let start = Instant::now();
    let loaded = Model::load(&onnx, &limits);
    let load_us = start.elapsed().as_micros() as u64;
    let model = match loaded {
        Ok(model) => model,
        Err(error) => {
            let fault = json!({"code": error.code(), "message": error.to_string()});
            return Ok(
                json!({"unsupported": unsupported, "load": fault, "load_us": load_us, "runs": []}),
            );
        }
    };
    let runs = list(job, "runs")?
        .iter()
        .map(|run| run_once(&model, run))
        .collect::<Result<Vec<_>, _>>()?;
    let explained = match job.get("explain") {
        Some(wish) => explain(&onnx, wish)?,
        None => Value::Null,
    };
    Ok(json!({
        "unsupported": unsupported,
        "load": null,
        "load_us": load_us,
        "runs": runs,
        "explain": explained,
    }))
}

/// Counts the background and writes what each feature contributed to each row.
fn explain(onnx: &[u8], wish: &Value) -> Result<Value, Box<dyn Error>> {
    let background = read_tensor(&wish["background"])?;
    let input = read_tensor(&wish["input"])?;
    let found = Explainer::new(onnx, &background, &LoadLimits::default()).and_then(|explainer| {
        let start = Instant::now();
        let found = explainer.explain(&input)?;
        Ok((found, start.elapsed(), explainer.background().len()))
    });
    let (found, took, size) = match found {
        Ok(found) => found,
        Err(error) => return Ok(json!({"error": error.to_string()})),
    };
    let shape = [found.rows(), found.features, found.outputs()];
    let prefix = text(wish, "outputs")?;
    let files = [
        format!("{prefix}.contributions.npy"),
        format!("{prefix}.expectation.npy"),
    ];
    let contributions = TensorData::Fp64(found.contributions);
    fs::write(&files[0], npy::encode(&shape, &contributions))?;
    fs::write(
        &files[1],
        npy::encode(&shape[2..], &TensorData::Fp64(found.expectation)),
    )?;
    Ok(json!({
        "contributions": files[0],
        "expectation": files[1],
        "us": took.as_micros() as u64,
        "background_bytes": size,
    }))
}

/// Reads a named tensor.
fn read_tensor(entry: &Value) -> Result<Tensor, Box<dyn Error>> {
    let (shape, data) = npy::decode(&fs::read(text(entry, "file")?)?)?;
    Ok(Tensor {
        name: text(entry, "name")?.to_owned(),
        shape,
        data,
    })
}

/// Runs a model once and writes its outputs.
fn run_once(model: &Model, run: &Value) -> Result<Value, Box<dyn Error>> {
    let inputs = list(run, "inputs")?
        .iter()
        .map(read_tensor)
        .collect::<Result<Vec<_>, _>>()?;
    let prefix = text(run, "outputs")?;
    let start = Instant::now();
    let found = model.run(&inputs);
    let us = start.elapsed().as_micros() as u64;
    let tensors = match found {
        Ok(tensors) => tensors,
        Err(error) => return Ok(json!({"error": error.to_string()})),
    };
    let mut outputs = Vec::new();
    for (at, tensor) in tensors.iter().enumerate() {
        let file = format!("{prefix}.{at}.npy");
        fs::write(&file, npy::encode(&tensor.shape, &tensor.data))?;
        outputs.push(json!({"name": tensor.name, "file": file}));
    }
    Ok(json!({"us": us, "outputs": outputs}))
}

/// A field that must hold a string.
fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    value[key]
        .as_str()
        .ok_or_else(|| format!("a job needs the string `{key}`"))
}

/// A field that must hold a list.
fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>, String> {
    value[key]
        .as_array()
        .ok_or_else(|| format!("a job needs the list `{key}`"))
}
