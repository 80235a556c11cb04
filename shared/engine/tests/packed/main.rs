//! The packed form: it answers as its ONNX file to the bit, for every model that has one; its bytes are the same
//! everywhere; and no bytes in its place do harm.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod damage;
#[path = "../forests/plan.rs"]
#[expect(dead_code, reason = "what only other tests need")]
mod plan;
mod support;

use std::path::PathBuf;
use std::time::Duration;

use engine::{LoadError, LoadLimits, Model, PACKED_FORMAT, TensorData, pack};
use plan::{Plan, Tree, encode, grow_forest, roll_rows};
use proptest::prelude::*;
use prost::Message;
use support::{ask, bits, read, test_models, zoo_models};
use tract_onnx::pb::ModelProto;

fn limits() -> LoadLimits {
    LoadLimits::default()
}

/// Compares a model with its packed form, if it has one; gives how many batches both answered.
fn compare(name: &str, onnx: &[u8]) -> Option<usize> {
    let packed = pack(onnx, &limits()).ok()??;
    assert_eq!(pack(onnx, &limits()).unwrap().unwrap(), packed, "{name}");
    let first = Model::load(onnx, &limits()).unwrap();
    let second = Model::load_packed(packed, &limits()).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(first.inputs(), second.inputs(), "{name}");
    assert_eq!(first.outputs(), second.outputs(), "{name}");
    let answered = [1, 7, 64].into_iter().filter(|rows| {
        let input = ask(first.inputs(), *rows, 7);
        match (first.run(&input), second.run(&input)) {
            (Ok(first), Ok(second)) => {
                assert_eq!(bits(&first), bits(&second), "{name}, {rows} rows");
                true
            }
            (first, second) => {
                assert_eq!(first.map(|_| ()), second.map(|_| ()), "{name}");
                false
            }
        }
    });
    Some(answered.count())
}

/// Compares all of some files; gives for each that has a packed form how many batches both answered.
fn compare_all(files: &[PathBuf]) -> Vec<usize> {
    let counts = files.iter().filter_map(|path| {
        let name = path.display().to_string();
        compare(&name, &std::fs::read(path).unwrap())
    });
    counts.collect()
}

#[test]
fn packed_models_of_the_zoo_answer_to_the_bit_as_their_files() {
    let counts = compare_all(&zoo_models());
    assert!(counts.len() >= 100, "{} models were packed", counts.len());
    let answered = counts.iter().filter(|count| **count == 3).count();
    assert!(answered >= 90, "{answered} models answered");
}

#[test]
fn packed_test_models_answer_to_the_bit_as_their_files() {
    let counts = compare_all(&test_models());
    assert!(counts.len() >= 100, "{} models were packed", counts.len());
    assert!(counts.iter().all(|count| *count == 3));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn packed_random_forests_answer_to_the_bit_as_their_files(
        (features, outputs) in (prop_oneof![Just(1_usize), Just(40), Just(300), Just(1100)], 1_usize..4),
        (leaves, missing, depth, early) in (0_u8..3, 0_u8..3, 1_u32..10, prop_oneof![Just(0_u8), Just(15), Just(40)]),
        modes in prop_oneof![Just(vec![0]), Just(vec![0, 1, 2, 3]), Just((0..6).collect::<Vec<_>>()), Just((0..7).collect())],
        (oblivious, is_double, aggregate) in (any::<bool>(), any::<bool>(), 0_usize..4),
        trees in 1_usize..40,
        seed in 1_u64..,
    ) {
        let is_v5 = modes.contains(&6);
        let plan = Plan {
            features,
            outputs,
            leaves: if is_v5 { 0 } else { leaves },
            early: if is_v5 && depth == 1 { 0 } else { early },
            modes, missing, depth, oblivious, is_double, aggregate,
        };
        let mut dice = plan::Dice(seed);
        let mut forest = grow_forest(&plan, trees, &mut dice);
        forest.retain(|tree| !is_v5 || matches!(tree, Tree::Branch { .. }));
        prop_assume!(!forest.is_empty());
        let onnx = encode(&plan, &forest, is_v5);
        let packed = pack(&onnx, &limits()).unwrap().unwrap();
        let first = Model::load(&onnx, &limits()).unwrap();
        let second = Model::load_packed(packed, &limits()).unwrap();
        for rows in [1, 3, 40] {
            let values = roll_rows(&plan, rows, 20, &mut dice);
            let data = if plan.is_double {
                TensorData::Fp64(values)
            } else {
                TensorData::Fp32(values.into_iter().map(|v| v as f32).collect())
            };
            let input = [engine::Tensor { name: "X".to_owned(), shape: vec![rows, features], data }];
            let (first, second) = (first.run(&input).unwrap(), second.run(&input).unwrap());
            prop_assert_eq!(bits(&first), bits(&second), "{:?}", &plan);
        }
    }
}

#[test]
fn model_that_needs_the_graph_engine_has_no_packed_form() {
    assert_eq!(pack(&read("graph_mlp"), &limits()), Ok(None));
    assert_eq!(pack(&read("graph_conv"), &limits()), Ok(None));
}

#[test]
fn file_that_does_not_load_is_not_packed() {
    assert!(matches!(
        pack(b"", &limits()),
        Err(LoadError::Malformed { .. })
    ));
    let small = LoadLimits {
        max_tree_nodes: 3,
        ..limits()
    };
    let error = pack(&read("xgboost_3"), &small).unwrap_err();
    assert_eq!(error.code(), "model.too_large");
}

#[test]
fn other_version_of_the_form_has_an_error_of_its_own() {
    let mut packed = support::packed("xgboost_3");
    packed[8..12].copy_from_slice(&(PACKED_FORMAT + 1).to_le_bytes());
    let error = Model::load_packed(packed, &limits()).unwrap_err();
    assert_eq!(error, LoadError::PackedFormat { found: 2 });
    assert_eq!(error.code(), "model.packed_format_unknown");
}

#[test]
fn limits_hold_for_packed_models_too() {
    let packed = support::packed("xgboost_3");
    let load = |limits| Model::load_packed(packed.clone(), &limits).unwrap_err();
    let small = LoadLimits {
        max_bytes: 100,
        ..limits()
    };
    assert_eq!(load(small).code(), "model.too_large");
    let small = LoadLimits {
        max_tree_nodes: 3,
        ..limits()
    };
    assert_eq!(load(small).code(), "model.too_large");
    let small = LoadLimits {
        max_nodes: 0,
        ..limits()
    };
    assert_eq!(load(small).code(), "model.too_large");
}

#[test]
fn packed_model_that_loads_too_slowly_is_given_up() {
    let plan = Plan {
        features: 40,
        outputs: 1,
        leaves: 0,
        modes: vec![0],
        missing: 2,
        depth: 10,
        early: 5,
        oblivious: false,
        is_double: false,
        aggregate: 0,
    };
    let onnx = encode(&plan, &grow_forest(&plan, 300, &mut plan::Dice(5)), false);
    let packed = pack(&onnx, &limits()).unwrap().unwrap();
    let hurried = LoadLimits {
        deadline: Duration::ZERO,
        ..limits()
    };
    let error = Model::load_packed(packed, &hurried).unwrap_err();
    assert_eq!(error.code(), "model.deadline");
}

/// `verify` compares bytes: what a file is packed to may change with the form's version only. A change here without
/// another [`PACKED_FORMAT`] makes sealed models fail their verification.
#[test]
fn bytes_of_a_form_never_change() {
    assert_eq!(PACKED_FORMAT, 1);
    let found: Vec<(&str, usize, u32)> = support::GOLDEN
        .iter()
        .map(|(name, _, _)| {
            let packed = support::packed(name);
            let sum = u32::from_le_bytes(packed[12..16].try_into().unwrap());
            (*name, packed.len(), sum)
        })
        .collect();
    assert_eq!(found, support::GOLDEN);
}

#[test]
fn classifiers_that_leave_out_their_labels_are_packed_each_for_itself() {
    let mut model = ModelProto::decode(&*read("class_three_some_softmax_3")).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let at = graph
        .node
        .iter()
        .position(|node| node.op_type == "TreeEnsembleClassifier");
    let first = &mut graph.node[at.unwrap()];
    let scores = first.output[1].clone();
    first.output[0].clear();
    let mut second = first.clone();
    second.name.push_str("_again");
    second.output[1].push_str("_again");
    let weights = second
        .attribute
        .iter_mut()
        .find(|own| own.name == "class_weights");
    for weight in &mut weights.unwrap().floats {
        *weight *= 0.5;
    }
    graph.node.truncate(at.unwrap() + 1);
    graph.node.push(second);
    graph.output.retain(|output| output.name == scores);
    let mut again = graph.output[0].clone();
    again.name.push_str("_again");
    graph.output.push(again);
    assert_eq!(compare("two classifiers", &model.encode_to_vec()), Some(3));
}
