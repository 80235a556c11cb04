//! `TopK` with a constant `k`, in the place of the graph engine's, whose sort may panic where a value is NaN.

use std::cmp::Ordering;
use std::sync::Arc;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto};
use tract_onnx::prelude::{Datum, DatumType, Tensor as TractTensor};
use tract_onnx::tract_hir::internal::{
    DatumTypeExt, InferenceOp, TVec, TractErrorContext as _, TractResult, TypedFact, bail, ensure,
    tvec,
};

use crate::attributes::int;
use crate::check::{Constants, invalid};
use crate::error::LoadError;
use crate::precision::{Kernel, elements, need, put, shape};

/// The operator's name within the graph engine.
const OPERATOR: &str = "order.TopK";

/// Tells the graph engine about the kernel.
pub(super) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert(OPERATOR, parse);
}

/// Renames each `TopK` whose `k` is a constant, or an attribute as before version 10: it is an attribute then.
pub(super) fn lower(graph: &mut GraphProto) -> Result<(), LoadError> {
    let constants = Constants::collect(graph);
    let found = graph.node.iter().map(|node| {
        if node.op_type != "TopK" || !matches!(&*node.domain, "" | "ai.onnx") {
            return Ok(None);
        }
        let k = match node.input.get(1) {
            Some(name) => match constants.integers(name).as_deref() {
                Some([k]) => *k,
                Some(other) => return Err(invalid(node, format!("{} values of k", other.len()))),
                None => return Ok(None),
            },
            None => int(node, "k").unwrap_or(-1),
        };
        match usize::try_from(k) {
            Ok(_) => Ok(Some(k)),
            Err(_) => Err(invalid(node, format!("k is {k}; 0 or more is allowed"))),
        }
    });
    let found: Vec<Option<i64>> = found.collect::<Result<_, _>>()?;
    for (node, k) in graph.node.iter_mut().zip(found) {
        let Some(k) = k else { continue };
        OPERATOR.clone_into(&mut node.op_type);
        node.domain.clear();
        node.input.truncate(1);
        node.attribute.retain(|attribute| attribute.name != "k");
        node.attribute.push(AttributeProto {
            name: "k".to_owned(),
            r#type: AttributeType::Int as i32,
            i: k,
            ..AttributeProto::default()
        });
    }
    Ok(())
}

fn parse(_: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let kernel = TopK {
        axis: int(node, "axis").unwrap_or(-1),
        k: usize::try_from(int(node, "k").unwrap_or(-1)).context("k is negative")?,
        end: match int(node, "largest") {
            Some(0) => End::Smallest,
            _ => End::Largest,
        },
    };
    Ok((put(Arc::new(kernel), node), vec![]))
}

/// The first of the values along an axis in their order, and where they stood. Of equal values the earlier comes first;
/// NaN is above all numbers.
#[derive(Debug)]
struct TopK {
    axis: i64,
    k: usize,
    end: End,
}

/// With which end the order begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Largest,
    Smallest,
}

impl TopK {
    /// The axis from the front, and the shape of what is made.
    fn place(&self, shape: &[usize]) -> TractResult<(usize, Vec<usize>)> {
        let rank = shape.len() as i64;
        let axis = if self.axis < 0 {
            self.axis + rank
        } else {
            self.axis
        };
        if !(0..rank).contains(&axis) {
            bail!("axis {} is outside the {rank} dimensions", self.axis);
        }
        let axis = axis as usize;
        ensure!(
            self.k <= shape[axis],
            "the first {} of {} values are asked for",
            self.k,
            shape[axis]
        );
        let mut made = shape.to_vec();
        made[axis] = self.k;
        Ok((axis, made))
    }

    fn choose<T: Datum + Copy + PartialOrd>(
        &self,
        x: &TractTensor,
    ) -> TractResult<TVec<TractTensor>> {
        let (axis, made) = self.place(x.shape())?;
        let (len, inner) = (x.shape()[axis], x.shape()[axis + 1..].iter().product());
        let values = elements::<T>(x)?;
        let count = made.iter().product();
        let mut chosen: Vec<T> = Vec::with_capacity(count);
        let mut places: Vec<i64> = Vec::with_capacity(count);
        let before = |a: &(T, usize), b: &(T, usize)| {
            let order = compare(a.0, b.0);
            let order = match self.end {
                End::Largest => order.reverse(),
                End::Smallest => order,
            };
            order.then(a.1.cmp(&b.1))
        };
        let size: usize = len * inner;
        for block in values.chunks_exact(size.max(1)) {
            let columns: Vec<Vec<(T, usize)>> = (0..inner)
                .map(|column| {
                    let along = block[column..].iter().step_by(inner).copied();
                    let mut along: Vec<(T, usize)> = along.zip(0..).collect();
                    if self.k > 0 && self.k < len {
                        along.select_nth_unstable_by(self.k - 1, before);
                    }
                    along.truncate(self.k);
                    along.sort_unstable_by(before);
                    along
                })
                .collect();
            for at in 0..self.k {
                chosen.extend(columns.iter().map(|column| column[at].0));
                places.extend(columns.iter().map(|column| column[at].1 as i64));
            }
        }
        Ok(tvec![
            TractTensor::from_shape(&made, &chosen)?,
            TractTensor::from_shape(&made, &places)?
        ])
    }
}

/// The order of numbers, with NaN, equal to itself, above all.
fn compare<T: PartialOrd>(a: T, b: T) -> Ordering {
    let is_nan = |x: &T| x.partial_cmp(x).is_none();
    a.partial_cmp(&b)
        .unwrap_or_else(|| is_nan(&a).cmp(&is_nan(&b)))
}

impl Kernel for TopK {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let x = need(inputs, 0)?;
        let (_, made) = self.place(shape(x)?)?;
        Ok(tvec![
            x.datum_type.fact(&*made),
            DatumType::I64.fact(&*made)
        ])
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let x = need(inputs, 0)?;
        match x.datum_type() {
            DatumType::F32 => self.choose::<f32>(x),
            DatumType::F64 => self.choose::<f64>(x),
            DatumType::I64 => self.choose::<i64>(x),
            DatumType::I32 => self.choose::<i32>(x),
            DatumType::I16 => self.choose::<i16>(x),
            DatumType::I8 => self.choose::<i8>(x),
            DatumType::U64 => self.choose::<u64>(x),
            DatumType::U32 => self.choose::<u32>(x),
            DatumType::U16 => self.choose::<u16>(x),
            DatumType::U8 => self.choose::<u8>(x),
            other => bail!("{other:?} has no order that is run"),
        }
    }
}
