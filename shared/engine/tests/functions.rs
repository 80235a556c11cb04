//! Functions that a model defines: written out where they are called, refused where they never end or lie.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use engine::{LoadError, LoadLimits, Model, inspect};
use prost::Message;
use tract_onnx::pb::{FunctionProto, ModelProto, NodeProto};

/// `Both` calls `Squash` twice; the graph calls each once.
fn read() -> ModelProto {
    let file =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/zoo/models/functions.onnx");
    ModelProto::decode(&*std::fs::read(file).unwrap()).unwrap()
}

fn load(model: &ModelProto) -> Result<Model, LoadError> {
    Model::load(&model.encode_to_vec(), &LoadLimits::default())
}

fn function<'a>(model: &'a mut ModelProto, name: &str) -> &'a mut FunctionProto {
    let mut functions = model.functions.iter_mut();
    functions
        .find(|own| own.name.as_deref() == Some(name))
        .unwrap()
}

#[test]
fn functions_are_written_out_where_they_are_called() {
    let found = inspect(&read().encode_to_vec(), &LoadLimits::default()).unwrap();
    let count = |operator: &str| {
        let mut operators = found.operators.iter();
        operators
            .find(|own| own.operator == operator)
            .unwrap()
            .count
    };
    assert_eq!((count("Tanh"), count("Neg"), count("Sum")), (3, 1, 1));
    assert_eq!(found.unsupported, []);
}

#[test]
fn a_function_that_calls_itself_is_refused() {
    let mut model = read();
    let both = function(&mut model, "Both");
    "Both".clone_into(&mut both.node[0].op_type);
    assert!(matches!(load(&model), Err(LoadError::TooLarge { .. })));
}

#[test]
fn functions_that_call_each_other_a_thousandfold_are_refused() {
    let mut model = read();
    let call = |name: String, from: &str| NodeProto {
        op_type: name,
        domain: "own".to_owned(),
        input: vec![from.to_owned()],
        output: vec![format!("{from}.")],
        ..NodeProto::default()
    };
    let mut template = function(&mut model, "Squash").clone();
    for level in 0..20 {
        let next = |from: &str| call(format!("Level{}", level + 1), from);
        template.name = Some(format!("Level{level}"));
        template.node = vec![next("x"), next("x.")];
        template.output = vec!["x..".to_owned()];
        model.functions.push(template.clone());
    }
    let graph = model.graph.as_mut().unwrap();
    "Level0".clone_into(&mut graph.node[1].op_type);
    assert!(matches!(load(&model), Err(LoadError::TooLarge { .. })));
}

#[test]
fn a_function_with_the_name_of_an_operator_is_refused() {
    let mut model = read();
    for function in &mut model.functions {
        function.domain = Some(String::new());
    }
    function(&mut model, "Squash").name = Some("Sum".to_owned());
    let message = load(&model).unwrap_err().to_string();
    assert!(
        message.ends_with("a function has the name of an operator"),
        "{message}"
    );
}

#[test]
fn a_function_of_another_operator_set_is_refused() {
    let mut model = read();
    function(&mut model, "Both").opset_import[0].version = 13;
    let message = load(&model).unwrap_err().to_string();
    assert!(message.contains("another operator set"), "{message}");
    assert!(message.contains("convert_version=True"), "{message}");
}

#[test]
fn a_function_that_is_not_there_is_an_unknown_operator() {
    let mut model = read();
    function(&mut model, "Both").name = Some("Neither".to_owned());
    let message = load(&model).unwrap_err().to_string();
    assert!(message.contains("own.Both"), "{message}");
}
