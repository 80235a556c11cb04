//! Random ensembles of every form and mode against an evaluator that walks the attributes as they stand.

#[path = "forests/plan.rs"]
mod plan;

use engine::{LoadLimits, Model, Tensor, TensorData};
use plan::{Dice, Plan, Tree, encode, goes_true, grow_forest, narrow, roll_rows};
use proptest::prelude::*;
use prost::Message;
use tract_onnx::pb::{AttributeProto, ModelProto};

/// The leaf that a row reaches.
fn find<'a>(plan: &Plan, tree: &'a Tree, row: &[f64]) -> &'a [(usize, f64)] {
    match tree {
        Tree::Leaf(weights) => weights,
        Tree::Branch { children, .. } => {
            let child = usize::from(!goes_true(plan, tree, row));
            find(plan, &children[child], row)
        }
    }
}

/// The scores of a row, in the model's arithmetic.
fn evaluate(plan: &Plan, forest: &[Tree], row: &[f64]) -> Vec<f64> {
    let mut sums: Vec<Option<f64>> = vec![None; plan.outputs];
    for tree in forest {
        for (output, weight) in find(plan, tree, row) {
            let sum = &mut sums[*output];
            *sum = Some(match (*sum, plan.aggregate) {
                (None, _) => narrow(plan, *weight),
                (Some(sum), 0 | 1) => narrow(plan, sum + weight),
                (Some(sum), 2) => sum.min(*weight),
                (Some(sum), _) => sum.max(*weight),
            });
        }
    }
    sums.iter()
        .map(|sum| {
            let sum = sum.unwrap_or(0.0);
            let sum = if plan.aggregate == 1 {
                narrow(plan, sum / forest.len() as f64)
            } else {
                sum
            };
            f64::from(sum as f32)
        })
        .collect()
}

fn plans() -> impl Strategy<Value = (Plan, usize)> {
    let modes = prop_oneof![
        Just(vec![0]),
        Just(vec![1]),
        Just(vec![2]),
        Just(vec![0, 1, 2, 3]),
        Just(vec![4]),
        Just((0..6).collect::<Vec<_>>()),
        Just((0..7).collect::<Vec<_>>()),
    ];
    let shape = (
        prop_oneof![
            Just(1_usize),
            Just(3),
            Just(40),
            Just(70),
            Just(300),
            Just(1100)
        ],
        1_usize..4,
        0_u8..3,
        prop_oneof![1_u32..4, 5_u32..8, Just(9_u32)],
        prop_oneof![Just(0_u8), Just(15), Just(40)],
    );
    (
        shape,
        modes,
        0_u8..3,
        any::<bool>(),
        any::<bool>(),
        0_usize..4,
        1_usize..40,
    )
        .prop_map(
            |(
                (features, outputs, leaves, depth, early),
                modes,
                missing,
                oblivious,
                is_double,
                aggregate,
                trees,
            )| {
                let has_sets = modes.contains(&6);
                let plan = Plan {
                    features,
                    outputs,
                    leaves: if has_sets { 0 } else { leaves },
                    modes,
                    missing,
                    depth,
                    early: if has_sets && depth == 1 { 0 } else { early },
                    oblivious,
                    is_double,
                    aggregate,
                };
                (plan, trees)
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn scores_are_those_of_a_naive_walk(
        (plan, trees) in plans(),
        seed in 1_u64..,
        holes in prop_oneof![Just(0_usize), Just(20)],
        rows in prop_oneof![Just(1_usize), 2_usize..20, Just(33), Just(150)],
    ) {
        let mut dice = Dice(seed);
        let is_v5 = plan.modes.contains(&6);
        let mut forest = grow_forest(&plan, trees, &mut dice);
        // A tree of version 5 is a branch at least.
        forest.retain(|tree| !is_v5 || matches!(tree, Tree::Branch { .. }));
        prop_assume!(!forest.is_empty());
        let onnx = encode(&plan, &forest, is_v5);
        let model = Model::load(&onnx, &LoadLimits::default()).unwrap();
        let values = roll_rows(&plan, rows, holes, &mut dice);
        let data = if plan.is_double {
            TensorData::Fp64(values.clone())
        } else {
            TensorData::Fp32(values.iter().map(|v| *v as f32).collect())
        };
        let input = Tensor { name: "X".to_owned(), shape: vec![rows, plan.features], data };
        let made = model.run(&[input]).unwrap();
        prop_assert_eq!(&made[0].shape, &[rows, plan.outputs]);
        let found: Vec<f64> = match &made[0].data {
            TensorData::Fp32(scores) => scores.iter().map(|v| f64::from(*v)).collect(),
            TensorData::Fp64(scores) => scores.iter().map(|v| f64::from(*v as f32)).collect(),
            other => panic!("{other:?}"),
        };
        for (at, row) in values.chunks_exact(plan.features).enumerate() {
            let expected = evaluate(&plan, &forest, row);
            let own = &found[at * plan.outputs..(at + 1) * plan.outputs];
            prop_assert_eq!(own, &expected[..], "row {} of {:?}", at, plan);
        }
    }
}

/// What `LightGBM`'s exporter writes for a set of categories: a chain of equalities that lead to one branch.
#[test]
fn branch_with_two_parents_is_reached_from_both() {
    let ints = |name: &str, ints: &[i64]| AttributeProto {
        name: name.to_owned(),
        ints: ints.to_vec(),
        ..AttributeProto::default()
    };
    let floats = |name: &str, floats: &[f32]| AttributeProto {
        name: name.to_owned(),
        floats: floats.to_vec(),
        ..AttributeProto::default()
    };
    let modes = [
        "BRANCH_EQ",
        "BRANCH_EQ",
        "BRANCH_LEQ",
        "LEAF",
        "LEAF",
        "LEAF",
    ];
    let plan = Plan {
        features: 2,
        outputs: 1,
        leaves: 0,
        modes: vec![0],
        missing: 0,
        depth: 1,
        early: 0,
        oblivious: false,
        is_double: false,
        aggregate: 0,
    };
    let mut proto =
        ModelProto::decode(&*encode(&plan, &grow_forest(&plan, 1, &mut Dice(1)), false)).unwrap();
    let node = &mut proto.graph.as_mut().unwrap().node[0];
    node.attribute = vec![
        ints("nodes_treeids", &[0; 6]),
        ints("nodes_nodeids", &[0, 1, 2, 3, 4, 5]),
        ints("nodes_featureids", &[0, 0, 1, 0, 0, 0]),
        ints("nodes_truenodeids", &[2, 2, 3, 0, 0, 0]),
        ints("nodes_falsenodeids", &[1, 5, 4, 0, 0, 0]),
        floats("nodes_values", &[1.0, 2.0, 0.5, 0.0, 0.0, 0.0]),
        AttributeProto {
            name: "nodes_modes".to_owned(),
            strings: modes.iter().map(|mode| mode.as_bytes().to_vec()).collect(),
            ..AttributeProto::default()
        },
        ints("target_treeids", &[0; 3]),
        ints("target_nodeids", &[3, 4, 5]),
        ints("target_ids", &[0; 3]),
        floats("target_weights", &[10.0, 20.0, 30.0]),
        AttributeProto {
            name: "n_targets".to_owned(),
            i: 1,
            ..AttributeProto::default()
        },
    ];
    let loaded = Model::load(&proto.encode_to_vec(), &LoadLimits::default()).unwrap();
    let rows = [1.0, 0.0, 2.0, 0.0, 1.0, 1.0, 2.0, 1.0, 3.0, 0.0];
    let input = Tensor {
        name: "X".to_owned(),
        shape: vec![5, 2],
        data: TensorData::Fp32(rows.to_vec()),
    };
    let made = loaded.run(&[input]).unwrap();
    assert_eq!(
        made[0].data,
        TensorData::Fp32(vec![10.0, 10.0, 20.0, 20.0, 30.0])
    );
}
