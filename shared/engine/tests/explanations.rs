//! Contributions are Shapley values: held against all subsets of the features, one by one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "forests/plan.rs"]
mod plan;

use engine::{ExplainError, Explainer, LoadLimits, Tensor, TensorData};
use plan::{Dice, Plan, Tree, encode, goes_true, grow_forest, narrow, roll_rows};
use proptest::prelude::*;

/// The score where only some features are known: at a branch on another, the row goes both ways, as the background
/// did; where none of it came, half each.
fn expect(plan: &Plan, tree: &Tree, row: &[f64], known: usize, background: &[&[f64]]) -> Vec<f64> {
    match tree {
        Tree::Leaf(weights) => {
            let mut out = vec![0.0; plan.outputs];
            for (output, weight) in weights {
                out[*output] += narrow(plan, *weight);
            }
            out
        }
        Tree::Branch {
            feature, children, ..
        } => {
            let (yes, no): (Vec<&[f64]>, Vec<&[f64]>) = background
                .iter()
                .partition(|row| goes_true(plan, tree, row));
            let share = if known & (1 << feature) != 0 {
                f64::from(u8::from(goes_true(plan, tree, row)))
            } else if background.is_empty() {
                0.5
            } else {
                yes.len() as f64 / background.len() as f64
            };
            let left = expect(plan, &children[0], row, known, &yes);
            let right = expect(plan, &children[1], row, known, &no);
            left.iter()
                .zip(&right)
                .map(|(left, right)| share * left + (1.0 - share) * right)
                .collect()
        }
    }
}

fn factorial(n: usize) -> f64 {
    (1..=n).map(|k| k as f64).product()
}

/// The Shapley value of a feature, by its definition.
fn shapley(plan: &Plan, values: &[Vec<f64>], feature: usize) -> Vec<f64> {
    let n = plan.features;
    let mut out = vec![0.0; plan.outputs];
    for known in (0..1_usize << n).filter(|known| known & (1 << feature) == 0) {
        let size = known.count_ones() as usize;
        let weight = factorial(size) * factorial(n - size - 1) / factorial(n);
        let (with, without) = (&values[known | (1 << feature)], &values[known]);
        for ((out, with), without) in out.iter_mut().zip(with).zip(without) {
            *out += weight * (with - without);
        }
    }
    out
}

fn tensor(plan: &Plan, values: &[f64]) -> Tensor {
    Tensor {
        name: "X".to_owned(),
        shape: vec![values.len() / plan.features, plan.features],
        data: if plan.is_double {
            TensorData::Fp64(values.to_vec())
        } else {
            TensorData::Fp32(values.iter().map(|v| *v as f32).collect())
        },
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    let modes = prop_oneof![
        Just(vec![0]),
        Just((0..4).collect::<Vec<_>>()),
        Just((0..6).collect())
    ];
    let shape = (1_usize..7, 1_usize..3, 0_u8..3, 1_u32..6, 0_u8..30);
    (
        shape,
        modes,
        0_u8..3,
        any::<bool>(),
        any::<bool>(),
        0_usize..2,
    )
        .prop_map(
            |(
                (features, outputs, leaves, depth, early),
                modes,
                missing,
                oblivious,
                is_double,
                aggregate,
            )| Plan {
                features,
                outputs,
                leaves,
                modes,
                missing,
                depth,
                early,
                oblivious,
                is_double,
                aggregate,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn contributions_of_trees_are_shapley_values(
        plan in plans(),
        seed in 1_u64..,
        trees in 1_usize..5,
        background in 1_usize..30,
    ) {
        let mut dice = Dice(seed);
        let forest = grow_forest(&plan, trees, &mut dice);
        let onnx = encode(&plan, &forest, false);
        let background = roll_rows(&plan, background, 10, &mut dice);
        let rows = roll_rows(&plan, 3, 10, &mut dice);
        let explainer =
            Explainer::new(&onnx, &tensor(&plan, &background), &LoadLimits::default()).unwrap();
        let explanations = explainer.explain(&tensor(&plan, &rows)).unwrap();
        let background: Vec<&[f64]> = background.chunks_exact(plan.features).collect();
        let scale = if plan.aggregate == 1 { 1.0 / trees as f64 } else { 1.0 };
        for (row, explanation) in rows.chunks_exact(plan.features).zip(&explanations) {
            // The value of every set of known features.
            let values: Vec<Vec<f64>> = (0..1 << plan.features)
                .map(|known| {
                    let mut sum = vec![0.0; plan.outputs];
                    for tree in &forest {
                        let own = expect(&plan, tree, row, known, &background);
                        for (sum, own) in sum.iter_mut().zip(own) {
                            *sum += scale * own;
                        }
                    }
                    sum
                })
                .collect();
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1.0);
            for (own, expected) in explanation.expectation.iter().zip(&values[0]) {
                prop_assert!(close(*own, *expected));
            }
            for (own, expected) in explanation.score.iter().zip(values.last().unwrap()) {
                prop_assert!(close(*own, *expected));
            }
            for (feature, own) in explanation.contributions.iter().enumerate() {
                let expected = shapley(&plan, &values, feature);
                for (own, expected) in own.iter().zip(&expected) {
                    prop_assert!(close(*own, *expected), "{own} for {expected}, {plan:?}");
                }
            }
        }
    }
}

#[test]
fn aggregate_that_is_no_sum_is_not_explained() {
    let plan = Plan {
        features: 2,
        outputs: 1,
        leaves: 0,
        modes: vec![0],
        missing: 0,
        depth: 2,
        early: 0,
        oblivious: false,
        is_double: false,
        aggregate: 2,
    };
    let forest = grow_forest(&plan, 2, &mut Dice(7));
    let onnx = encode(&plan, &forest, false);
    let error =
        Explainer::new(&onnx, &tensor(&plan, &[0.0, 1.0]), &LoadLimits::default()).unwrap_err();
    assert!(
        matches!(error, ExplainError::NotAvailable { .. }),
        "{error}"
    );
    assert_eq!(error.code(), "explain.not_available");
}
