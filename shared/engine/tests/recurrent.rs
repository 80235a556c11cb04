//! LSTM, GRU and RNN answer what the specification's equations give, for every attribute, and refuse what it does not
//! define.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "recurrent/case.rs"]
mod case;
#[path = "recurrent/reference.rs"]
mod reference;

use case::{Case, Function, Kind, any_case, function};
use engine::{LoadLimits, Model, Tensor, TensorData};
use proptest::prelude::*;
use tract_onnx::pb::tensor_proto::DataType as ElementType;

fn load(case: &Case, element: ElementType) -> (Model, Vec<Tensor>) {
    let (bytes, tensors) = case.model(element);
    let model = Model::load(&bytes, &LoadLimits::default())
        .unwrap_or_else(|error| panic!("{case:?}: {error}"));
    (model, tensors)
}

fn floats(data: &TensorData) -> Vec<f64> {
    match data {
        TensorData::Fp64(values) => values.clone(),
        TensorData::Fp32(values) => values.iter().map(|x| f64::from(*x)).collect(),
        TensorData::Fp16(values) => values.iter().map(|x| f64::from(*x)).collect(),
        other => panic!("{:?}", other.datatype()),
    }
}

/// The largest number of the answers, 1 at least.
fn largest(case: &Case) -> f64 {
    let answers = reference::answer(case).concat();
    answers.iter().fold(1.0, |most, x| {
        if x.is_nan() {
            f64::INFINITY
        } else {
            x.abs().max(most)
        }
    })
}

/// Runs a case in a type and compares all outputs: within `tolerance`, relative to the largest number.
#[track_caller]
fn check(case: &Case, element: ElementType, tolerance: f64) {
    let (model, tensors) = load(case, element);
    let found = model
        .run(&tensors)
        .unwrap_or_else(|error| panic!("{case:?}: {error}"));
    let expected = reference::answer(case);
    let bound = tolerance * largest(case);
    let wanted = ["Y", "Y_h", "Y_c"]
        .into_iter()
        .zip(&expected)
        .zip(case.outputs);
    let wanted: Vec<_> = wanted
        .filter_map(|(one, is_wanted)| is_wanted.then_some(one))
        .collect();
    assert_eq!(found.len(), wanted.len());
    for (tensor, (name, expected)) in found.iter().zip(wanted) {
        assert_eq!(tensor.name, name);
        assert_eq!(tensor.shape, case.shape(name), "{case:?}");
        for (at, (left, right)) in floats(&tensor.data).iter().zip(expected).enumerate() {
            let is_near = (left - right).abs() <= bound;
            assert!(
                is_near,
                "{case:?}: {name}[{at}] is {left}, the equations give {right}"
            );
        }
    }
}

fn lstm() -> Case {
    Case {
        kind: Kind::Lstm,
        direction: "forward",
        layout: 0,
        steps: 4,
        rows: 3,
        inputs: 2,
        hidden: 5,
        clip: None,
        activations: None,
        switch: 0,
        has_bias: true,
        has_peepholes: false,
        has_hidden: false,
        has_cell: false,
        lengths: None,
        outputs: [true, true, true],
        are_weights_given: false,
        seed: 7,
    }
}

fn gru() -> Case {
    Case {
        kind: Kind::Gru,
        outputs: [true, true, false],
        ..lstm()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_node_answers_what_the_equations_give_in_float64(case in any_case()) {
        // Gates without a bound may grow beyond all numbers.
        prop_assume!(largest(&case) < 1e6);
        check(&case, ElementType::Double, 1e-9);
    }

    #[test]
    fn any_node_answers_what_the_equations_give_in_float32(mut case in any_case()) {
        let bounded = ["Sigmoid", "Tanh", "Softsign", "HardSigmoid"];
        let count = case.kind.functions();
        for (at, one) in case.activations.iter_mut().flatten().enumerate() {
            // A threshold turns the last bit of a sum into another answer, and so do gates that grow by themselves.
            let is_gate = count > 1 && at % count == 0;
            if one.name == "ThresholdedRelu" || (is_gate && !bounded.contains(&one.name)) {
                *one = function("Sigmoid", None, None);
            }
        }
        prop_assume!(largest(&case) < 1e3);
        check(&case, ElementType::Float, 5e-5);
    }
}

#[test]
fn float16_nodes_are_computed_in_float32_and_rounded_once() {
    for case in [lstm(), gru()] {
        // The weights are rounded to float16 first: 3 digits.
        check(&case, ElementType::Float16, 3e-3);
    }
}

#[test]
fn long_sequences_of_many_rows_answer_as_short_ones_do() {
    for kind in [Kind::Lstm, Kind::Gru, Kind::Rnn] {
        for switch in [0, 1] {
            let case = Case {
                kind,
                switch,
                direction: "bidirectional",
                steps: 70,
                rows: 71,
                inputs: 9,
                hidden: 67,
                lengths: Some((0..=70).collect()),
                outputs: [true, true, kind == Kind::Lstm],
                ..lstm()
            };
            check(&case, ElementType::Float, 2e-5);
        }
    }
}

#[test]
fn answer_of_a_row_does_not_depend_on_its_batch() {
    for kind in [Kind::Lstm, Kind::Gru, Kind::Rnn] {
        let case = Case {
            kind,
            layout: 1,
            rows: 45,
            inputs: 7,
            hidden: 33,
            outputs: [true, false, false],
            ..lstm()
        };
        let (model, tensors) = load(&case, ElementType::Float);
        let whole = floats(&model.run(&tensors).unwrap()[0].data);
        let x = floats(&tensors[0].data);
        let (taken, made) = (case.steps * case.inputs, case.steps * case.hidden);
        let single = Case { rows: 1, ..case };
        let (bytes, _) = single.model(ElementType::Float);
        let model = Model::load(&bytes, &LoadLimits::default()).unwrap();
        for row in 0..45 {
            let values = &x[row * taken..(row + 1) * taken];
            let tensor = Tensor {
                name: "X".to_owned(),
                shape: single.shape("X"),
                data: TensorData::Fp32(values.iter().map(|x| *x as f32).collect()),
            };
            let own = floats(&model.run(&[tensor]).unwrap()[0].data);
            assert_eq!(own, whole[row * made..(row + 1) * made], "row {row}");
        }
    }
}

#[test]
fn missing_number_reaches_all_later_steps_and_no_other_row() {
    let names = [
        "Sigmoid",
        "Tanh",
        "Relu",
        "Softsign",
        "Softplus",
        "Affine",
        "ScaledTanh",
        "HardSigmoid",
        "LeakyRelu",
        "ThresholdedRelu",
        "Elu",
    ];
    for name in names {
        for kind in [Kind::Lstm, Kind::Gru, Kind::Rnn] {
            let takes_alpha = !names[..5].contains(&name);
            let takes_beta = ["Affine", "ScaledTanh", "HardSigmoid"].contains(&name);
            let one: Function =
                function(name, takes_alpha.then_some(0.5), takes_beta.then_some(0.5));
            let case = Case {
                kind,
                activations: Some(vec![one; kind.functions()]),
                clip: Some(3.0),
                outputs: [true, false, false],
                ..lstm()
            };
            let (model, mut tensors) = load(&case, ElementType::Float);
            let TensorData::Fp32(x) = &mut tensors[0].data else {
                panic!("float32 was asked for");
            };
            // Step 1, row 1.
            x[(case.rows + 1) * case.inputs] = f32::NAN;
            let found = floats(&model.run(&tensors).unwrap()[0].data);
            for (at, value) in found.iter().enumerate() {
                let (step, row) = (at / case.hidden / case.rows, at / case.hidden % case.rows);
                let is_reached = row == 1 && step >= 1;
                assert_eq!(
                    value.is_nan(),
                    is_reached,
                    "{kind:?} {name}, step {step}, row {row}"
                );
            }
        }
    }
}

#[test]
fn lengths_beyond_the_sequence_or_below_zero_are_errors_of_the_run() {
    for (length, reason) in [
        (5, "sequence_lens[1] is 5; 0 to 4"),
        (-1, "sequence_lens[1] is -1"),
    ] {
        let case = Case {
            lengths: Some(vec![4, length, 0]),
            ..lstm()
        };
        let (model, tensors) = load(&case, ElementType::Float);
        let error = model.run(&tensors).unwrap_err().to_string();
        assert!(
            error.contains(reason) && error.contains("node `net` (LSTM)"),
            "{error}"
        );
    }
}

#[track_caller]
fn assert_refused(case: &Case, code: &str, reason: &str) {
    let (bytes, _) = case.model(ElementType::Float);
    let error = Model::load(&bytes, &LoadLimits::default()).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(reason), "{error}");
    assert!(error.to_string().contains("net"), "{error}");
}

#[test]
fn attributes_that_the_operators_do_not_define_are_refused_by_name() {
    let with = |functions: &[Function]| Case {
        activations: Some(functions.to_vec()),
        ..lstm()
    };
    let tanh = function("Tanh", None, None);
    let invalid = "model.invalid_graph";
    assert_refused(
        &Case {
            clip: Some(0.0),
            ..lstm()
        },
        invalid,
        "clip is 0",
    );
    assert_refused(
        &Case {
            clip: Some(f32::NAN),
            ..lstm()
        },
        invalid,
        "clip is NaN",
    );
    assert_refused(
        &Case {
            switch: 2,
            ..lstm()
        },
        invalid,
        "input_forget is 2",
    );
    assert_refused(
        &Case {
            switch: -1,
            ..gru()
        },
        invalid,
        "linear_before_reset is -1",
    );
    assert_refused(&Case { layout: 3, ..gru() }, invalid, "layout is 3");
    assert_refused(
        &Case {
            direction: "sideways",
            ..gru()
        },
        invalid,
        "direction is `sideways`",
    );
    assert_refused(
        &with(&[tanh; 2]),
        invalid,
        "activations has 2 entries where 3 are needed",
    );
    let spare = function("Tanh", Some(1.0), None);
    assert_refused(
        &with(&[tanh, tanh, spare]),
        invalid,
        "activation_alpha has 1 entries where",
    );
    let scaled = function("ScaledTanh", Some(1.0), None);
    assert_refused(
        &with(&[tanh, tanh, scaled]),
        invalid,
        "ScaledTanh has no default",
    );
    let swish = function("Swish", None, None);
    assert_refused(
        &with(&[tanh, tanh, swish]),
        "model.unsupported_operator",
        "`Swish`",
    );
}
