//! Random ensembles, and how they stand in a file.

use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::type_proto::{Tensor as TensorType, Value};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto,
};

/// Thresholds and values: few, so that ties are common.
const GRID: [f64; 12] = [
    f64::NEG_INFINITY,
    -2.5,
    -1.0,
    -1e-40,
    -0.0,
    0.0,
    1e-40,
    0.5,
    1.0,
    3.0,
    1e30,
    f64::INFINITY,
];
const MODES: [&str; 6] = [
    "BRANCH_LEQ",
    "BRANCH_LT",
    "BRANCH_GTE",
    "BRANCH_GT",
    "BRANCH_EQ",
    "BRANCH_NEQ",
];

/// A branch with its children, or the weights of a leaf by output.
#[derive(Debug, Clone)]
pub(crate) enum Tree {
    Leaf(Vec<(usize, f64)>),
    Branch {
        feature: usize,
        mode: usize,
        threshold: f64,
        /// Of the mode 6.
        set: Vec<f64>,
        tracks_true: bool,
        children: Box<[Tree; 2]>,
    },
}

/// What an ensemble is made of.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) features: usize,
    pub(crate) outputs: usize,
    /// 0: one weight a leaf, all for one output; 1: one for every output; 2: some.
    pub(crate) leaves: u8,
    /// Numbers of [`MODES`], and 6 for set membership.
    pub(crate) modes: Vec<usize>,
    /// 0: none tracks true, 1: all, 2: some.
    pub(crate) missing: u8,
    pub(crate) depth: u32,
    /// Chance of a leaf before the full depth, in percent.
    pub(crate) early: u8,
    /// Branches of one level all ask the same.
    pub(crate) oblivious: bool,
    pub(crate) is_double: bool,
    pub(crate) aggregate: usize,
}

/// Numbers that repeat for the same seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }
}

fn question(plan: &Plan, dice: &mut Dice) -> (usize, usize, f64, Vec<f64>, bool) {
    let mode = plan.modes[dice.roll(plan.modes.len())];
    let set = (0..=dice.roll(4))
        .map(|_| GRID[dice.roll(GRID.len())])
        .collect();
    let tracks_true = match plan.missing {
        0 => false,
        1 => true,
        _ => dice.roll(2) == 0,
    };
    (
        dice.roll(plan.features),
        mode,
        GRID[dice.roll(GRID.len())],
        set,
        tracks_true,
    )
}

fn grow(
    plan: &Plan,
    dice: &mut Dice,
    level: u32,
    asked: &[(usize, usize, f64, Vec<f64>, bool)],
) -> Tree {
    let stops = !plan.oblivious && dice.roll(100) < usize::from(plan.early);
    if level == plan.depth || stops {
        let mut weight = || (dice.roll(2001) as f64 - 1000.0) / 64.0;
        return Tree::Leaf(match plan.leaves {
            0 => vec![(plan.outputs - 1, weight())],
            1 => (0..plan.outputs).map(|output| (output, weight())).collect(),
            _ => (0..plan.outputs)
                .map(|output| (output, weight()))
                .filter(|(_, weight)| (*weight * 64.0) as i64 % 3 != 0)
                .collect(),
        });
    }
    let (feature, mode, threshold, set, tracks_true) = if plan.oblivious {
        asked[level as usize].clone()
    } else {
        question(plan, dice)
    };
    let left = grow(plan, dice, level + 1, asked);
    let right = grow(plan, dice, level + 1, asked);
    Tree::Branch {
        feature,
        mode,
        threshold,
        set,
        tracks_true,
        children: Box::new([left, right]),
    }
}

pub(crate) fn grow_forest(plan: &Plan, trees: usize, dice: &mut Dice) -> Vec<Tree> {
    (0..trees)
        .map(|_| {
            let asked: Vec<_> = (0..plan.depth).map(|_| question(plan, dice)).collect();
            grow(plan, dice, 0, &asked)
        })
        .collect()
}

/// A number as the model's type has it.
pub(crate) fn narrow(plan: &Plan, value: f64) -> f64 {
    if plan.is_double {
        value
    } else {
        f64::from(value as f32)
    }
}

/// True if a row goes to the true child of a branch; never at a leaf.
#[expect(clippy::float_cmp, reason = "equality is what is asked")]
pub(crate) fn goes_true(plan: &Plan, tree: &Tree, row: &[f64]) -> bool {
    let Tree::Branch {
        feature,
        mode,
        threshold,
        set,
        tracks_true,
        ..
    } = tree
    else {
        return false;
    };
    let value = row[*feature];
    let threshold = narrow(plan, *threshold);
    let is_true = match mode {
        0 => value <= threshold,
        1 => value < threshold,
        2 => value >= threshold,
        3 => value > threshold,
        4 => value == threshold,
        5 => value != threshold,
        _ => set.iter().any(|member| narrow(plan, *member) == value),
    };
    is_true || (value.is_nan() && *tracks_true)
}

/// The lists of a node's attributes.
#[derive(Default)]
struct Lists {
    ints: Vec<(&'static str, Vec<i64>)>,
    numbers: Vec<(&'static str, Vec<f64>)>,
}

impl Lists {
    fn int(&mut self, name: &'static str, value: i64) -> usize {
        let at = self.ints.iter().position(|(own, _)| *own == name);
        let at = at.unwrap_or_else(|| {
            self.ints.push((name, Vec::new()));
            self.ints.len() - 1
        });
        self.ints[at].1.push(value);
        self.ints[at].1.len() - 1
    }

    fn number(&mut self, name: &'static str, value: f64) {
        let at = self.numbers.iter().position(|(own, _)| *own == name);
        let at = at.unwrap_or_else(|| {
            self.numbers.push((name, Vec::new()));
            self.numbers.len() - 1
        });
        self.numbers[at].1.push(value);
    }

    fn set(&mut self, name: &'static str, at: usize, value: i64) {
        let list = self.ints.iter_mut().find(|(own, _)| *own == name);
        list.expect("a list that has numbers").1[at] = value;
    }
}

/// Writes one tree for version 3, nodes by place; gives the node's id.
fn write_v3(
    tree: &Tree,
    id: i64,
    next: &mut i64,
    lists: &mut Lists,
    modes: &mut Vec<Vec<u8>>,
) -> i64 {
    let own = *next;
    *next += 1;
    lists.int("nodes_treeids", id);
    let at = lists.int("nodes_nodeids", own);
    for name in [
        "nodes_featureids",
        "nodes_truenodeids",
        "nodes_falsenodeids",
        "nodes_missing_value_tracks_true",
    ] {
        lists.int(name, 0);
    }
    match tree {
        Tree::Leaf(weights) => {
            modes.push(b"LEAF".to_vec());
            lists.number("nodes_values", 0.0);
            for (output, weight) in weights {
                lists.int("target_treeids", id);
                lists.int("target_nodeids", own);
                lists.int("target_ids", *output as i64);
                lists.number("target_weights", *weight);
            }
        }
        Tree::Branch {
            feature,
            mode,
            threshold,
            tracks_true,
            children,
            ..
        } => {
            modes.push(MODES[*mode].as_bytes().to_vec());
            lists.number("nodes_values", *threshold);
            lists.set("nodes_featureids", at, *feature as i64);
            lists.set(
                "nodes_missing_value_tracks_true",
                at,
                i64::from(*tracks_true),
            );
            let when_true = write_v3(&children[0], id, next, lists, modes);
            lists.set("nodes_truenodeids", at, when_true);
            let when_false = write_v3(&children[1], id, next, lists, modes);
            lists.set("nodes_falsenodeids", at, when_false);
        }
    }
    own
}

/// Writes one tree for version 5; gives the place, and 1 for a leaf.
fn write_v5(
    tree: &Tree,
    lists: &mut Lists,
    modes: &mut Vec<u8>,
    sets: &mut Vec<(usize, Vec<f64>)>,
) -> (i64, i64) {
    match tree {
        Tree::Leaf(weights) => {
            lists.number("leaf_weights", weights[0].1);
            (lists.int("leaf_targetids", weights[0].0 as i64) as i64, 1)
        }
        Tree::Branch {
            feature,
            mode,
            threshold,
            set,
            tracks_true,
            children,
        } => {
            modes.push(*mode as u8);
            lists.number("nodes_splits", *threshold);
            let at = lists.int("nodes_featureids", *feature as i64);
            lists.int("nodes_missing_value_tracks_true", i64::from(*tracks_true));
            if *mode == 6 {
                sets.push((at, set.clone()));
            }
            let names = [
                ("nodes_truenodeids", "nodes_trueleafs"),
                ("nodes_falsenodeids", "nodes_falseleafs"),
            ];
            for (places, leaves) in names {
                lists.int(places, 0);
                lists.int(leaves, 0);
            }
            for ((places, leaves), child) in names.into_iter().zip(&**children) {
                let (place, is_leaf) = write_v5(child, lists, modes, sets);
                lists.set(places, at, place);
                lists.set(leaves, at, is_leaf);
            }
            (at as i64, 0)
        }
    }
}

fn attribute(name: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        ..AttributeProto::default()
    }
}

fn number_tensor(values: &[f64], is_double: bool) -> TensorProto {
    let mut tensor = TensorProto {
        dims: vec![values.len() as i64],
        ..TensorProto::default()
    };
    if is_double {
        tensor.data_type = DataType::Double as i32;
        tensor.double_data = values.to_vec();
    } else {
        tensor.data_type = DataType::Float as i32;
        tensor.float_data = values.iter().map(|v| *v as f32).collect();
    }
    tensor
}

pub(crate) fn encode(plan: &Plan, forest: &[Tree], is_v5: bool) -> Vec<u8> {
    let mut lists = Lists::default();
    let mut node = NodeProto {
        op_type: if is_v5 {
            "TreeEnsemble"
        } else {
            "TreeEnsembleRegressor"
        }
        .to_owned(),
        domain: "ai.onnx.ml".to_owned(),
        input: vec!["X".to_owned()],
        output: vec!["Y".to_owned()],
        ..NodeProto::default()
    };
    if is_v5 {
        let (mut modes, mut sets) = (Vec::new(), Vec::new());
        for tree in forest {
            let (root, _) = write_v5(tree, &mut lists, &mut modes, &mut sets);
            lists.int("tree_roots", root);
        }
        node.attribute.push(AttributeProto {
            t: Some(TensorProto {
                dims: vec![modes.len() as i64],
                data_type: DataType::Uint8 as i32,
                raw_data: modes,
                ..TensorProto::default()
            }),
            ..attribute("nodes_modes")
        });
        sets.sort_by_key(|(at, _)| *at);
        let members: Vec<f64> = sets
            .into_iter()
            .flat_map(|(_, set)| set.into_iter().chain([f64::NAN]))
            .collect();
        if !members.is_empty() {
            lists.numbers.push(("membership_values", members));
        }
        node.attribute.push(AttributeProto {
            i: [1, 0, 2, 3][plan.aggregate],
            ..attribute("aggregate_function")
        });
    } else {
        let mut modes = Vec::new();
        for (id, tree) in forest.iter().enumerate() {
            write_v3(tree, id as i64, &mut 0, &mut lists, &mut modes);
        }
        node.attribute.push(AttributeProto {
            strings: modes,
            ..attribute("nodes_modes")
        });
        node.attribute.push(AttributeProto {
            s: ["SUM", "AVERAGE", "MIN", "MAX"][plan.aggregate]
                .as_bytes()
                .to_vec(),
            ..attribute("aggregate_function")
        });
    }
    node.attribute.push(AttributeProto {
        i: plan.outputs as i64,
        ..attribute("n_targets")
    });
    for (name, ints) in lists.ints {
        node.attribute.push(AttributeProto {
            ints,
            ..attribute(name)
        });
    }
    for (name, numbers) in lists.numbers {
        node.attribute.push(if is_v5 || plan.is_double {
            let name = if is_v5 {
                name.to_owned()
            } else {
                format!("{name}_as_tensor")
            };
            AttributeProto {
                t: Some(number_tensor(&numbers, plan.is_double)),
                ..attribute(&name)
            }
        } else {
            AttributeProto {
                floats: numbers.iter().map(|v| *v as f32).collect(),
                ..attribute(name)
            }
        });
    }
    let kind = if plan.is_double {
        DataType::Double
    } else {
        DataType::Float
    };
    let value = |name: &str, kind: DataType, columns: usize| ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(Value::TensorType(TensorType {
                elem_type: kind as i32,
                shape: Some(TensorShapeProto {
                    dim: vec![
                        Dimension::default(),
                        Dimension {
                            value: Some(dimension::Value::DimValue(columns as i64)),
                            ..Dimension::default()
                        },
                    ],
                }),
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    };
    let made = if is_v5 { kind } else { DataType::Float };
    ModelProto {
        ir_version: 9,
        opset_import: vec![OperatorSetIdProto {
            domain: "ai.onnx.ml".to_owned(),
            version: if is_v5 { 5 } else { 3 },
        }],
        graph: Some(GraphProto {
            node: vec![node],
            input: vec![value("X", kind, plan.features)],
            output: vec![value("Y", made, plan.outputs)],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
    .encode_to_vec()
}

/// Rows of values that are often a threshold, and sometimes missing.
pub(crate) fn roll_rows(plan: &Plan, rows: usize, holes: usize, dice: &mut Dice) -> Vec<f64> {
    (0..rows * plan.features)
        .map(|_| match dice.roll(100) {
            roll if roll < holes => f64::NAN,
            _ => narrow(plan, GRID[dice.roll(GRID.len())]),
        })
        .collect()
}
