//! Contributions are Shapley values: held against all subsets of the features, one by one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "forests/plan.rs"]
mod plan;

use std::path::Path;
use std::time::{Duration, Instant};

use engine::{
    ExplainError, Explainer, Form, LoadError, LoadLimits, Method, Model, Tensor, TensorData,
    inspect, pack,
};
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
        // What is kept of the background says all that the rows said.
        let packed = pack(&onnx, &LoadLimits::default()).unwrap().unwrap();
        for (form, bytes) in [(Form::Onnx, &onnx), (Form::Packed, &packed)] {
            let kept = Explainer::with_background(form, bytes, &explainer.background(), &LoadLimits::default());
            prop_assert_eq!(kept.unwrap().explain(&tensor(&plan, &rows)).unwrap(), explanations.clone());
        }
        let background: Vec<&[f64]> = background.chunks_exact(plan.features).collect();
        let scale = if plan.aggregate == 1 { 1.0 / trees as f64 } else { 1.0 };
        for (at, row) in rows.chunks_exact(plan.features).enumerate() {
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
            for (own, expected) in explanations.expectation.iter().zip(&values[0]) {
                prop_assert!(close(*own, *expected));
            }
            for (own, expected) in explanations.scores[at * plan.outputs..].iter().zip(values.last().unwrap()) {
                prop_assert!(close(*own, *expected));
            }
            for feature in 0..plan.features {
                for (output, expected) in shapley(&plan, &values, feature).iter().enumerate() {
                    let own = explanations.contribution(at, feature, output);
                    prop_assert!(close(own, *expected), "{own} for {expected}, {plan:?}");
                }
            }
        }
    }
}

/// A model of the zoo, its explainer with a background of 200 rows, and 8 rows to explain.
fn explain_zoo(name: &str) -> (Model, Explainer, Tensor) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/zoo/models");
    let onnx = std::fs::read(path.join(format!("{name}.onnx"))).unwrap();
    let model = Model::load(&onnx, &LoadLimits::default()).unwrap();
    let spec = &model.inputs()[0];
    let columns = spec.shape[1] as usize;
    let mut dice = Dice(99);
    let mut roll = |rows: usize| Tensor {
        name: spec.name.clone(),
        shape: vec![rows, columns],
        data: TensorData::Fp32(
            (0..rows * columns)
                .map(|_| dice.roll(8001) as f32 / 1000.0 - 4.0)
                .collect(),
        ),
    };
    let (background, asked) = (roll(200), roll(8));
    let explainer = Explainer::new(&onnx, &background, &LoadLimits::default()).unwrap();
    (model, explainer, asked)
}

/// What makes an answer of a raw score.
type Transform = fn(f64) -> f64;

#[test]
fn contributions_sum_to_score_minus_expectation_and_the_score_is_the_models_own() {
    let cases: [(&str, Method, Transform); 5] = [
        ("tree_binary", Method::TreeShapPathDependent, |score| score),
        ("forest_binary", Method::TreeShapPathDependent, |score| {
            score
        }),
        ("xgboost_binary", Method::TreeShapPathDependent, |score| {
            1.0 / (1.0 + (-score).exp())
        }),
        (
            "xgboost_regression",
            Method::TreeShapPathDependent,
            |score| score,
        ),
        ("linear_regression", Method::Linear, |score| score),
    ];
    for (name, method, transform) in cases {
        let (model, explainer, asked) = explain_zoo(name);
        let found = explainer.explain(&asked).unwrap();
        assert_eq!(
            (found.method, found.rows(), found.outputs()),
            (method, 8, 1),
            "{name}"
        );
        let outputs = model.run(&[asked]).unwrap();
        let TensorData::Fp32(answers) = &outputs.last().unwrap().data else {
            panic!("{name} answers in FP32");
        };
        // Of two classes the second.
        let width = answers.len() / 8;
        for row in 0..8 {
            let sum: f64 = (0..found.features)
                .map(|at| found.contribution(row, at, 0))
                .sum();
            let score = found.scores[row];
            assert!(
                (sum - (score - found.expectation[0])).abs() <= 1e-9 * score.abs().max(1.0),
                "{name}"
            );
            let answer = f64::from(answers[row * width + width - 1]);
            assert!(
                (transform(score) - answer).abs() <= 1e-5 * answer.abs().max(1.0),
                "{name}: {score} {answer}"
            );
        }
    }
}

#[test]
fn background_of_another_model_is_refused() {
    let onnx = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/zoo/models");
        std::fs::read(path.join(format!("{name}.onnx"))).unwrap()
    };
    let (_, trees, _) = explain_zoo("tree_binary");
    let (_, linear, _) = explain_zoo("linear_regression");
    let mut longer = trees.background();
    longer.push(0);
    for (name, background) in [
        ("tree_binary", linear.background()),
        ("linear_regression", trees.background()),
        ("xgboost_regression", trees.background()),
        ("tree_binary", longer),
        ("tree_binary", vec![]),
    ] {
        let onnx = onnx(name);
        let packed = pack(&onnx, &LoadLimits::default()).unwrap().unwrap();
        for (form, bytes) in [(Form::Onnx, &onnx), (Form::Packed, &packed)] {
            let error =
                Explainer::with_background(form, bytes, &background, &LoadLimits::default());
            let error = error.unwrap_err();
            assert!(
                matches!(error, ExplainError::Background { .. }),
                "{name}: {error}"
            );
            assert_eq!(error.code(), "explain.background");
        }
    }
}

#[test]
fn explaining_ends_at_its_deadline() {
    let (_, explainer, asked) = explain_zoo("forest_binary");
    let passed = Instant::now();
    assert_eq!(
        explainer.explain_until(&asked, passed),
        Err(ExplainError::Late)
    );
    let far = Instant::now() + Duration::from_mins(10);
    assert_eq!(
        explainer.explain_until(&asked, far),
        explainer.explain(&asked)
    );
}

#[test]
fn graphs_whose_answer_is_not_one_models_score_are_not_explained() {
    let row = |columns: usize| Tensor {
        name: "X".to_owned(),
        shape: vec![1, columns],
        data: TensorData::Fp32(vec![0.5; columns]),
    };
    for name in ["stacking", "voting_soft", "lstm_stacked"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/zoo/models");
        let onnx = std::fs::read(path.join(format!("{name}.onnx"))).unwrap();
        let error = Explainer::new(&onnx, &row(8), &LoadLimits::default()).unwrap_err();
        assert_eq!(error.code(), "explain.not_available", "{name}: {error}");
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

#[test]
fn explaining_and_inspecting_read_a_file_under_the_deadline() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/zoo/models");
    let onnx = std::fs::read(path.join("tree_binary.onnx")).unwrap();
    let (_, explainer, asked) = explain_zoo("tree_binary");
    let limits = LoadLimits {
        deadline: Duration::ZERO,
        ..LoadLimits::default()
    };
    let late = ExplainError::Load(LoadError::Deadline { limit_ms: 0 });
    assert_eq!(Explainer::new(&onnx, &asked, &limits).unwrap_err(), late);
    let background = explainer.background();
    let error = Explainer::with_background(Form::Onnx, &onnx, &background, &limits).unwrap_err();
    assert_eq!(error, late);
    assert_eq!(
        ExplainError::Load(inspect(&onnx, &limits).unwrap_err()),
        late
    );
}
