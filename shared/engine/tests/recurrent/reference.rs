//! The operators' equations as the specification writes them, one number at a time, in float64.

#![expect(
    clippy::many_single_char_names,
    reason = "the names of the specification"
)]

use crate::case::{Case, Function, Kind};

/// The outputs `Y`, `Y_h`, `Y_c`.
pub(crate) fn answer(case: &Case) -> [Vec<f64>; 3] {
    let size = |name: &str| case.shape(name).iter().product();
    let mut outputs = [
        vec![0.0; size("Y")],
        vec![0.0; size("Y_h")],
        vec![0.0; size("Y_c")],
    ];
    let zeros = |name: &str| case.numbers(name).unwrap_or_else(|| vec![0.0; size(name)]);
    let (x, w, r, b) = (zeros("X"), zeros("W"), zeros("R"), zeros("B"));
    let (h0, c0, p) = (zeros("initial_h"), zeros("initial_c"), zeros("P"));
    let (directions, hidden) = (case.directions(), case.hidden);
    let is_steps_first = case.layout == 0;
    for direction in 0..directions {
        let is_reversed = case.direction == "reverse" || direction == 1;
        for row in 0..case.rows {
            let length = match &case.lengths {
                Some(lengths) => lengths[row] as usize,
                None => case.steps,
            };
            let at = if is_steps_first {
                direction * case.rows + row
            } else {
                row * directions + direction
            };
            let own = at * hidden..(at + 1) * hidden;
            let mut state = (h0[own.clone()].to_vec(), c0[own.clone()].to_vec());
            for step in 0..length {
                let place = if is_reversed { length - 1 - step } else { step };
                let at = if is_steps_first {
                    place * case.rows + row
                } else {
                    row * case.steps + place
                };
                let now = &x[at * case.inputs..(at + 1) * case.inputs];
                state = take_step(case, direction, now, &state, [&w, &r, &b, &p]);
                let at = if is_steps_first {
                    (place * directions + direction) * case.rows + row
                } else {
                    (row * case.steps + place) * directions + direction
                };
                outputs[0][at * hidden..(at + 1) * hidden].copy_from_slice(&state.0);
            }
            if length > 0 {
                outputs[1][own.clone()].copy_from_slice(&state.0);
                outputs[2][own].copy_from_slice(&state.1);
            }
        }
    }
    outputs
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter()
        .zip(right)
        .map(|(left, right)| left * right)
        .sum()
}

fn take_step(
    case: &Case,
    direction: usize,
    x: &[f64],
    (h, c): &(Vec<f64>, Vec<f64>),
    [w, r, b, p]: [&[f64]; 4],
) -> (Vec<f64>, Vec<f64>) {
    let (gates, hidden) = (case.kind.gates(), case.hidden);
    let functions = case.functions(direction);
    let bound = |sum: f64| match case.clip {
        Some(clip) if sum.is_finite() => sum.max(-f64::from(clip)).min(f64::from(clip)),
        _ => sum,
    };
    let gate = |function: usize, sum: f64| apply(functions[function], bound(sum));
    let row_of = |gate: usize, unit: usize| (direction * gates + gate) * hidden + unit;
    let from_input = |gate: usize, unit: usize| {
        let at = row_of(gate, unit) * case.inputs;
        dot(x, &w[at..at + case.inputs])
    };
    let from_state = |gate: usize, unit: usize, state: &[f64]| {
        let at = row_of(gate, unit) * hidden;
        dot(state, &r[at..at + hidden])
    };
    let bias = |part: usize, gate: usize, unit: usize| {
        b[((direction * 2 + part) * gates + gate) * hidden + unit]
    };
    let sum = |gate: usize, unit: usize| {
        from_input(gate, unit)
            + from_state(gate, unit, h)
            + bias(0, gate, unit)
            + bias(1, gate, unit)
    };
    let peephole = |part: usize, unit: usize| p[(direction * 3 + part) * hidden + unit];
    let units = 0..hidden;
    match case.kind {
        Kind::Rnn => (units.map(|unit| gate(0, sum(0, unit))).collect(), c.clone()),
        Kind::Lstm => units
            .map(|unit| {
                let i = gate(0, sum(0, unit) + peephole(0, unit) * c[unit]);
                let f = if case.switch == 1 {
                    1.0 - i
                } else {
                    gate(0, sum(2, unit) + peephole(2, unit) * c[unit])
                };
                let new = f * c[unit] + i * gate(1, sum(3, unit));
                let o = gate(0, sum(1, unit) + peephole(1, unit) * new);
                (o * apply(functions[2], new), new)
            })
            .unzip(),
        Kind::Gru => {
            let reset: Vec<f64> = units.clone().map(|unit| gate(0, sum(1, unit))).collect();
            let kept: Vec<f64> = reset.iter().zip(h).map(|(r, h)| r * h).collect();
            let new = units.map(|unit| {
                let z = gate(0, sum(0, unit));
                let inner = if case.switch == 1 {
                    reset[unit] * (from_state(2, unit, h) + bias(1, 2, unit))
                } else {
                    from_state(2, unit, &kept) + bias(1, 2, unit)
                };
                let fresh = gate(1, from_input(2, unit) + inner + bias(0, 2, unit));
                (1.0 - z) * fresh + z * h[unit]
            });
            (new.collect(), c.clone())
        }
    }
}

fn apply(function: Function, x: f64) -> f64 {
    let alpha = f64::from(function.alpha.unwrap_or(f32::NAN));
    let beta = f64::from(function.beta.unwrap_or(f32::NAN));
    match function.name {
        "Sigmoid" => 1.0 / (1.0 + (-x).exp()),
        "Tanh" => x.tanh(),
        "Relu" | "relu" => x.max(0.0),
        "Softsign" => x / (1.0 + x.abs()),
        "Softplus" => (1.0 + x.exp()).ln(),
        "Affine" => alpha * x + beta,
        "ScaledTanh" => alpha * (beta * x).tanh(),
        "HardSigmoid" => (alpha * x + beta).clamp(0.0, 1.0),
        "LeakyRelu" => {
            if x >= 0.0 {
                x
            } else {
                alpha * x
            }
        }
        "Elu" => {
            if x >= 0.0 {
                x
            } else {
                alpha * (x.exp() - 1.0)
            }
        }
        "ThresholdedRelu" => {
            if x > alpha {
                x
            } else {
                0.0
            }
        }
        other => panic!("{other}"),
    }
}
