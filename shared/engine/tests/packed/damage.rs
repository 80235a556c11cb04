//! Packed models that somebody made to do harm: each is refused, or answers. None panics, none takes long.

use std::time::{Duration, Instant};

use engine::{LoadError, LoadLimits, Model, RunError, pack};
use prost::Message;
use tract_onnx::pb::ModelProto;

use crate::plan::{Dice, Plan, encode, grow_forest};
use crate::support::{ask, packed, read};

/// Small models of every shape of trees: oblivious, shallow, linked, ruled; of every form of leaves; with labels.
fn small_models() -> Vec<Vec<u8>> {
    let plan = Plan {
        features: 2,
        outputs: 1,
        leaves: 0,
        modes: vec![0],
        missing: 0,
        depth: 2,
        early: 0,
        oblivious: true,
        is_double: false,
        aggregate: 0,
    };
    let shallow = Plan {
        oblivious: false,
        missing: 2,
        leaves: 1,
        outputs: 2,
        ..plan.clone()
    };
    let linked = Plan {
        depth: 9,
        early: 30,
        leaves: 2,
        is_double: true,
        ..shallow.clone()
    };
    let ruled = Plan {
        modes: vec![0, 4],
        ..shallow.clone()
    };
    let sets = Plan {
        modes: vec![6],
        leaves: 0,
        ..shallow.clone()
    };
    let mut models: Vec<Vec<u8>> = [(plan, 3), (shallow, 3), (linked, 1), (ruled, 2), (sets, 2)]
        .iter()
        .map(|(plan, trees)| {
            let forest = grow_forest(plan, *trees, &mut Dice(11));
            let onnx = encode(plan, &forest, plan.modes.contains(&6));
            pack(&onnx, &LoadLimits::default()).unwrap().unwrap()
        })
        .collect();
    models.push(packed("class_three_some_softmax_3"));
    models
}

/// Puts the checksum right.
fn vouch(mut packed: Vec<u8>) -> Vec<u8> {
    if packed.len() >= 16 {
        let sum = crc32fast::hash(&packed[16..]);
        packed[12..16].copy_from_slice(&sum.to_le_bytes());
    }
    packed
}

/// Loads, and asks what loads: some error, or some answer, without a panic and within a second. True if it loaded.
fn is_harmless(packed: Vec<u8>, what: &str) -> bool {
    let limits = LoadLimits {
        max_elements: 1 << 20,
        ..LoadLimits::default()
    };
    let began = Instant::now();
    let loaded = Model::load_packed(packed, &limits);
    let is_loaded = match loaded {
        Ok(model) => {
            for rows in [1, 20] {
                let outcome = model.run(&ask(model.inputs(), rows, 5));
                assert!(
                    !matches!(outcome, Err(RunError::Panicked { .. })),
                    "{what}: {outcome:?}"
                );
            }
            true
        }
        Err(error) => {
            assert!(
                !matches!(error, LoadError::Panicked { .. }),
                "{what}: {error}"
            );
            false
        }
    };
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{what} took {:?}",
        began.elapsed()
    );
    is_loaded
}

#[test]
fn truncated_file_is_refused_at_every_length() {
    for (model, packed) in small_models().into_iter().enumerate() {
        for length in 0..packed.len() {
            let what = format!("model {model} cut at {length}");
            assert!(!is_harmless(packed[..length].to_vec(), &what), "{what}");
            assert!(
                !is_harmless(vouch(packed[..length].to_vec()), &what),
                "{what}"
            );
        }
    }
}

#[test]
fn longer_file_is_refused() {
    for packed in small_models() {
        assert!(!is_harmless(
            vouch([packed, vec![0]].concat()),
            "a byte more"
        ));
    }
}

#[test]
fn flipped_byte_is_found_by_the_checksum() {
    for packed in small_models() {
        for at in 0..packed.len() {
            let mut flipped = packed.clone();
            flipped[at] ^= 0x10;
            assert!(!is_harmless(flipped, "a flipped byte"), "byte {at}");
        }
    }
}

#[test]
fn flipped_byte_under_a_right_checksum_does_no_harm() {
    for (model, packed) in small_models().into_iter().enumerate() {
        for at in 16..packed.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut flipped = packed.clone();
                flipped[at] ^= flip;
                is_harmless(
                    vouch(flipped),
                    &format!("model {model}, byte {at} ^ {flip}"),
                );
            }
        }
    }
}

#[test]
fn lying_numbers_under_a_right_checksum_do_no_harm() {
    for (model, packed) in small_models().into_iter().enumerate() {
        for at in 16..packed.len() - 4 {
            for lie in [0, 1, 0xffff, 0x00ff_ffff, 0x7fff_ffff, u32::MAX] {
                let mut lying = packed.clone();
                lying[at..at + 4].copy_from_slice(&lie.to_le_bytes());
                is_harmless(vouch(lying), &format!("model {model}, {lie} at {at}"));
            }
        }
    }
}

/// Where the body's parts of a packed file begin: the graph's length, and the number of ensembles.
fn split(packed: &[u8]) -> (usize, usize) {
    let length = u64::from_le_bytes(packed[16..24].try_into().unwrap()) as usize;
    (24, 24 + length)
}

#[test]
fn graph_of_another_model_is_refused() {
    let one = packed("xgboost_3");
    let other = packed("skl_forest_3");
    let (start, end) = split(&one);
    let (other_start, other_end) = split(&other);
    // Its trees use more columns than the graph's input has, or the graph has no place for them.
    let mut mixed = one[..16].to_vec();
    mixed.extend(((other_end - other_start) as u64).to_le_bytes());
    mixed.extend(&other[other_start..other_end]);
    mixed.extend(&one[end..]);
    is_harmless(vouch(mixed), "trees of another graph");
    for name in ["graph_mlp", "graph_conv"] {
        let onnx = read(name);
        let mut engine = one[..16].to_vec();
        engine.extend((onnx.len() as u64).to_le_bytes());
        engine.extend(&onnx);
        engine.extend(0_u32.to_le_bytes());
        let error = Model::load_packed(vouch(engine), &LoadLimits::default()).unwrap_err();
        assert_eq!(error.code(), "model.packed_malformed", "{error}");
    }
    let mut without = one[..end].to_vec();
    without.extend(0_u32.to_le_bytes());
    let error = Model::load_packed(vouch(without), &LoadLimits::default()).unwrap_err();
    assert!(
        error.to_string().contains("0 tree ensembles for 1 nodes"),
        "{error}"
    );
    assert_eq!(start, 24);
}

/// The packed form of a model whose last number, a leaf's weight in float32, is another.
fn with_last_weight(name: &str, weight: f32) -> Vec<u8> {
    let mut packed = packed(name);
    let at = packed.len() - 4;
    packed[at..].copy_from_slice(&weight.to_le_bytes());
    vouch(packed)
}

#[test]
fn weight_that_is_not_finite_is_refused_as_in_onnx() {
    for name in ["xgboost_3", "skl_forest_3", "class_three_some_softmax_3"] {
        assert!(Model::load_packed(with_last_weight(name, 0.25), &LoadLimits::default()).is_ok());
        for weight in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let packed = with_last_weight(name, weight);
            let error = Model::load_packed(packed, &LoadLimits::default()).unwrap_err();
            assert_eq!(error.code(), "model.packed_malformed");
            assert!(
                error.to_string().contains("is not finite"),
                "{name}: {error}"
            );
        }
    }
}

#[test]
fn trees_of_another_operator_are_refused() {
    let mut packed = packed("xgboost_3");
    let length = u64::from_le_bytes(packed[16..24].try_into().unwrap()) as usize;
    let mut model = ModelProto::decode(&packed[24..24 + length]).unwrap();
    let nodes = &mut model.graph.as_mut().unwrap().node;
    let node = nodes
        .iter_mut()
        .find(|node| node.op_type.starts_with("TreeEnsemble"));
    "TreeEnsemble".clone_into(&mut node.unwrap().op_type);
    let graph = model.encode_to_vec();
    let rest = packed.split_off(24 + length);
    packed.truncate(16);
    packed.extend((graph.len() as u64).to_le_bytes());
    packed.extend(graph);
    packed.extend(rest);
    let error = Model::load_packed(vouch(packed), &LoadLimits::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("its trees are of another operator"),
        "{error}"
    );
}
