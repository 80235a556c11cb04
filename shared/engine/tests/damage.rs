//! Arbitrary bytes and damaged models: an error or a model, never a panic.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::sync::LazyLock;

use engine::{LoadLimits, Model, Tensor, TensorData, inspect};
use proptest::prelude::*;

static MODELS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    [
        "class_three_softmax_3",
        "mode_mixed_tracks",
        "graph_mlp",
        "graph_conv",
        "graph_scaled_trees",
        "xgboost_3",
    ]
    .iter()
    .map(|name| std::fs::read(folder.join(format!("{name}.onnx"))).unwrap())
    .collect()
});

/// Loads and, where that works, runs two rows of ones.
fn exercise(bytes: &[u8]) {
    let limits = LoadLimits {
        max_elements: 1 << 20,
        ..LoadLimits::default()
    };
    let _ = inspect(bytes, &limits);
    let Ok(model) = Model::load(bytes, &limits) else {
        return;
    };
    let inputs: Vec<Tensor> = model
        .inputs()
        .iter()
        .filter_map(|spec| {
            let shape: Vec<usize> = spec
                .shape
                .iter()
                .map(|dim| usize::try_from(*dim).unwrap_or(2))
                .collect();
            let count = shape.iter().product::<usize>();
            let is_small = count <= 1 << 16;
            let data = TensorData::Fp32(vec![1.0; if is_small { count } else { 0 }]);
            is_small.then(|| Tensor {
                name: spec.name.clone(),
                shape,
                data,
            })
        })
        .collect();
    let _ = model.run(&inputs);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        exercise(&bytes);
    }

    #[test]
    fn damaged_models_never_panic(
        model in 0..6_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = MODELS[model].clone();
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        exercise(&bytes);
    }

    #[test]
    fn models_with_a_piece_cut_out_or_doubled_never_panic(
        model in 0..6_usize,
        from in any::<prop::sample::Index>(),
        length in 1..40_usize,
        doubled in any::<bool>(),
    ) {
        let mut bytes = MODELS[model].clone();
        let from = from.index(bytes.len());
        let piece: Vec<u8> = bytes[from..(from + length).min(bytes.len())].to_vec();
        if doubled {
            bytes.splice(from..from, piece);
        } else {
            bytes.drain(from..from + piece.len());
        }
        exercise(&bytes);
    }
}
