//! Normalisations and means in float64.

use std::marker::PhantomData;

use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{Datum, DatumExt as _, Tensor as TractTensor};
use tract_onnx::tract_hir::internal::{TVec, TractResult, TypedFact, bail, ensure, tvec};

use crate::attributes::{float, int};
use crate::precision::kernel::{Kernel, change, elements, maybe, need, shape};

/// `LayerNormalization`: over all dimensions from an axis on.
#[derive(Debug)]
pub(crate) struct LayerNormalise<T> {
    axis: i64,
    epsilon: f64,
    of: PhantomData<T>,
}

/// A float whose rows are normalised.
pub(crate) trait Normal: Datum + Copy {
    /// Normalises rows of as many numbers as there are in `scale`, which are not 0.
    fn normalise(values: &mut [Self], scale: &[Self], bias: Option<&[Self]>, epsilon: f64);
}

impl Normal for f64 {
    fn normalise(values: &mut [Self], scale: &[Self], bias: Option<&[Self]>, epsilon: f64) {
        let width = scale.len();
        for row in values.chunks_exact_mut(width) {
            let mean = row.iter().sum::<f64>() / width as f64;
            for value in row.iter_mut() {
                *value -= mean;
            }
            let variance = row.iter().map(|value| value * value).sum::<f64>() / width as f64;
            let factor = 1.0 / (variance + epsilon).sqrt();
            for (at, value) in row.iter_mut().enumerate() {
                *value = *value * factor * scale[at] + bias.map_or(0.0, |bias| bias[at]);
            }
        }
    }
}

/// `BatchNormalization` as it was trained: by channel.
#[derive(Debug)]
pub(crate) struct BatchNormalise {
    epsilon: f64,
}

/// `GlobalAveragePool`: the mean of each channel.
#[derive(Debug)]
pub(crate) struct MeanOfPlanes;

fn epsilon(node: &NodeProto) -> f64 {
    f64::from(float(node, "epsilon").unwrap_or(1e-5))
}

impl<T: Normal> LayerNormalise<T> {
    pub(crate) fn parse(node: &NodeProto) -> TractResult<Self> {
        ensure!(
            node.output.iter().skip(1).all(String::is_empty),
            "only its first output is run in {:?}",
            T::datum_type()
        );
        Ok(Self {
            axis: int(node, "axis").unwrap_or(-1),
            epsilon: epsilon(node),
            of: PhantomData,
        })
    }

    /// The elements that are normalised together.
    fn width(&self, shape: &[usize]) -> TractResult<usize> {
        let rank = shape.len() as i64;
        let axis = if self.axis < 0 {
            self.axis + rank
        } else {
            self.axis
        };
        if !(0..rank).contains(&axis) {
            bail!("axis {} is outside the {rank} dimensions", self.axis);
        }
        Ok(shape[axis as usize..].iter().product())
    }
}

impl BatchNormalise {
    pub(crate) fn parse(node: &NodeProto) -> TractResult<Self> {
        ensure!(
            int(node, "training_mode").unwrap_or(0) == 0
                && node.output.iter().skip(1).all(String::is_empty),
            "it is in training mode"
        );
        Ok(Self {
            epsilon: epsilon(node),
        })
    }
}

impl<T: Normal> Kernel for LayerNormalise<T> {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let shape = shape(need(inputs, 0)?)?;
        self.width(shape)?;
        Ok(tvec![T::fact(shape)])
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let x = need(inputs, 0)?;
        let width = self.width(x.shape())?;
        let scale = elements::<T>(need(inputs, 1)?)?;
        let bias = maybe(inputs, 2).map(elements::<T>).transpose()?;
        ensure!(
            scale.len() == width && bias.is_none_or(|bias| bias.len() == width),
            "{} scales for {width} elements",
            scale.len()
        );
        change(x, |values| {
            if width > 0 {
                T::normalise(values, scale, bias, self.epsilon);
            }
        })
    }
}

impl Kernel for BatchNormalise {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let shape = shape(need(inputs, 0)?)?;
        ensure!(shape.len() >= 2, "an input without channels");
        Ok(tvec![f64::fact(shape)])
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let x = need(inputs, 0)?;
        let by_channel = |at: usize| elements::<f64>(need(inputs, at)?);
        let (scale, bias) = (by_channel(1)?, by_channel(2)?);
        let (mean, variance) = (by_channel(3)?, by_channel(4)?);
        let channels = x.shape().get(1).copied().unwrap_or(0);
        ensure!(
            [scale, bias, mean, variance]
                .iter()
                .all(|list| list.len() == channels),
            "its statistics are not of {channels} channels"
        );
        let plane: usize = x.shape()[2..].iter().product();
        let mut made = elements::<f64>(x)?.to_vec();
        if plane > 0 && channels > 0 {
            for (at, values) in made.chunks_exact_mut(plane).enumerate() {
                let at = at % channels;
                let factor = scale[at] / (variance[at] + self.epsilon).sqrt();
                for value in values {
                    *value = (*value - mean[at]) * factor + bias[at];
                }
            }
        }
        Ok(tvec![TractTensor::from_shape(x.shape(), &made)?])
    }
}

impl Kernel for MeanOfPlanes {
    fn facts(&self, inputs: &[Option<&TypedFact>]) -> TractResult<TVec<TypedFact>> {
        let shape = shape(need(inputs, 0)?)?;
        ensure!(
            shape.len() >= 3 && shape[2..].iter().all(|dim| *dim > 0),
            "shape {shape:?} has no planes"
        );
        Ok(tvec![f64::fact(means_shape(shape))])
    }

    fn run(&self, inputs: &[Option<&TractTensor>]) -> TractResult<TVec<TractTensor>> {
        let x = need(inputs, 0)?;
        let plane: usize = x.shape()[2..].iter().product();
        let made: Vec<f64> = elements::<f64>(x)?
            .chunks_exact(plane)
            .map(|plane| plane.iter().sum::<f64>() / plane.len() as f64)
            .collect();
        Ok(tvec![TractTensor::from_shape(
            &means_shape(x.shape()),
            &made
        )?])
    }
}

fn means_shape(shape: &[usize]) -> Vec<usize> {
    let mut made = vec![1; shape.len()];
    made[..2].copy_from_slice(&shape[..2]);
    made
}
