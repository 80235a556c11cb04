//! From summed leaves to scores and labels: base values, post transforms and onnxruntime's label rules.

use artifact::manifest::DataType;

use super::attributes::{Aggregate, RawTrees};
use super::leaves::Survey;
use super::real::Real;
use crate::error::LoadError;
use crate::limits::LoadLimits;
use crate::ml::{ClassLabels, PostTransform, logistic, probit};
use crate::packed::{Reader, Writer};
use crate::tensor::TensorData;

/// What is done with the sums of one row.
#[derive(Debug, Clone)]
pub(super) struct Finish {
    width: usize,
    base_values: Vec<f64>,
    post_transform: PostTransform,
    aggregate: Aggregate,
    classes: Option<Classes>,
}

#[derive(Debug, Clone)]
struct Classes {
    labels: Labels,
    /// Two classes, and all weights are for one of them.
    is_one_score: bool,
    weights_are_positive: bool,
}

/// A classifier's labels, by class id.
#[derive(Debug, Clone)]
pub(super) struct Labels {
    names: ClassLabels,
}

impl Labels {
    /// The type of a tensor of them.
    pub(super) fn datatype(&self) -> DataType {
        self.names.datatype()
    }

    /// The labels of the winning classes. Two classes that are both weighted win as 0 and 1, whatever their
    /// integer labels are: onnxruntime's rule, marked by [`RAW`].
    pub(super) fn pick(&self, winners: &[u32]) -> TensorData {
        match &self.names {
            ClassLabels::Integers(labels) => TensorData::Int64(
                winners
                    .iter()
                    .map(|winner| match winner.checked_sub(RAW) {
                        Some(raw) => i64::from(raw),
                        None => labels.get(*winner as usize).copied().unwrap_or(-1),
                    })
                    .collect(),
            ),
            ClassLabels::Strings(labels) => TensorData::Bytes(
                winners
                    .iter()
                    .map(|winner| {
                        let class = winner.checked_sub(RAW).unwrap_or(*winner);
                        labels.get(class as usize).cloned().unwrap_or_default()
                    })
                    .collect(),
            ),
        }
    }
}

/// Added to a winner that is not looked up among integer labels.
const RAW: u32 = 1 << 31;

/// The scores of one row while they are worked on; the second is absent where one score stands for two classes.
struct TwoScores {
    scores: [f32; 2],
    one: bool,
}

impl Finish {
    pub(super) fn new(raw: &RawTrees<'_>) -> Self {
        let classes = raw.class_labels.as_ref().map(|names| Classes {
            labels: Labels {
                names: names.clone(),
            },
            is_one_score: raw.is_one_score(),
            weights_are_positive: raw.weights.iter().all(|weight| *weight >= 0.0),
        });
        Self {
            width: raw.width,
            base_values: raw.base_values.clone(),
            post_transform: raw.post_transform,
            aggregate: raw.aggregate,
            classes,
        }
    }

    /// Writes everything.
    pub(super) fn pack(&self, out: &mut Writer) {
        out.count(self.width);
        out.list(&self.base_values);
        out.choice(&self.post_transform, &PostTransform::ALL);
        out.choice(&self.aggregate, &Aggregate::ALL);
        out.choice(&self.classes.is_some(), &[false, true]);
        if let Some(classes) = &self.classes {
            classes.labels.names.pack(out);
            out.choice(&classes.is_one_score, &[false, true]);
            out.choice(&classes.weights_are_positive, &[false, true]);
        }
    }

    /// Reads what [`Finish::pack`] wrote.
    pub(super) fn unpack(input: &mut Reader<'_>, limits: &LoadLimits) -> Result<Self, LoadError> {
        let width = input.count()?;
        if !(1..=limits.max_elements).contains(&width) {
            return Err(input.fault(format!("{width} outputs")));
        }
        let base_values: Vec<f64> = input.list()?;
        let post_transform = input.choice("post_transform", &PostTransform::ALL)?;
        let aggregate = input.choice("aggregate_function", &Aggregate::ALL)?;
        let classes = if input.choice("flag", &[false, true])? {
            let names = ClassLabels::unpack(input)?;
            if names.len() != width || width < 2 {
                return Err(input.fault(format!("{} labels for {width} outputs", names.len())));
            }
            Some(Classes {
                labels: Labels { names },
                is_one_score: input.choice("flag", &[false, true])?,
                weights_are_positive: input.choice("flag", &[false, true])?,
            })
        } else {
            None
        };
        let is_fit = base_values.is_empty()
            || base_values.len() == width
            || (classes.is_some() && width == 2 && base_values.len() == 1);
        if !is_fit || !base_values.iter().all(|value| value.is_finite()) {
            return Err(input.fault(format!("the base values {base_values:?}")));
        }
        Ok(Self {
            width,
            base_values,
            post_transform,
            aggregate,
            classes,
        })
    }

    /// How many raw scores a row has, and the base value of each: onnxruntime's rules, as [`Finish::apply`] follows
    /// them. None for two classes with a base value each, which are not added to the trees' own sums.
    pub(super) fn raw_scores(&self, is_weighted: &[bool]) -> Option<(usize, Vec<f64>)> {
        let base = |at: usize| self.base_values.get(at).copied().unwrap_or(0.0);
        match &self.classes {
            Some(_) if self.width == 2 && self.base_values.len() == 2 => None,
            // A single base value is added to the first score, which may stand for the second class.
            Some(classes) if self.width == 2 && classes.is_one_score => {
                Some((1, vec![if is_weighted[0] { base(0) } else { 0.0 }]))
            }
            Some(_) if self.width == 2 => Some((2, vec![base(0), 0.0])),
            None if self.width > 1 => {
                // A target without a weight is 0 even if it has a base value.
                let bases = is_weighted.iter().enumerate();
                let bases =
                    bases.map(|(at, is_weighted)| if *is_weighted { base(at) } else { 0.0 });
                Some((self.width, bases.collect()))
            }
            _ => Some((self.width, (0..self.width).map(base).collect())),
        }
    }

    /// Holds what a packed file says to its weights: what ONNX allows, and what packing makes of it.
    pub(super) fn check(&self, survey: Survey) -> Result<(), &'static str> {
        if !survey.are_finite {
            return Err("a leaf has a weight that is not finite");
        }
        let Some(classes) = &self.classes else {
            return Ok(());
        };
        if self.aggregate != Aggregate::Sum {
            return Err("a classifier's trees are summed, and these are not");
        }
        let is_one_score = self.width == 2 && survey.output.is_some();
        if (classes.is_one_score, classes.weights_are_positive)
            != (is_one_score, survey.are_positive)
        {
            return Err("what is said of a classifier's weights is not so");
        }
        Ok(())
    }

    /// Whether an operator of `ai.onnx.ml` 5 may end so; `is_wide` for one of float64.
    pub(super) fn is_of_v5(&self, is_wide: bool) -> bool {
        let is_plain = self.post_transform == PostTransform::None || !is_wide;
        self.base_values.is_empty() && self.classes.is_none() && is_plain
    }

    pub(super) fn aggregate(&self) -> Aggregate {
        self.aggregate
    }

    pub(super) fn labels(&self) -> Option<&Labels> {
        self.classes.as_ref().map(|classes| &classes.labels)
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Writes one row's scores without a transform, in their own type: those of `ai.onnx.ml` 5 in float64.
    pub(super) fn plain<T: Real>(&self, sums: &[T], present: &[bool], trees: usize, out: &mut [T]) {
        for (at, slot) in out.iter_mut().enumerate() {
            *slot = match (present[at], self.aggregate) {
                (false, _) => T::default(),
                (true, Aggregate::Average) => sums[at].divide(trees),
                (true, _) => sums[at],
            };
        }
    }

    /// Writes one row's scores and gives the winning class (0 for a regression).
    pub(super) fn apply<T: Real>(
        &self,
        sums: &[T],
        present: &[bool],
        trees: usize,
        out: &mut [f32],
    ) -> u32 {
        match &self.classes {
            None => {
                self.finish_targets(sums, present, trees, out);
                0
            }
            Some(classes) if self.width == 2 => self.finish_two(classes, sums, present, out),
            Some(_) => self.finish_classes(sums, present, out),
        }
    }

    fn base<T: Real>(&self, at: usize) -> T {
        T::from_f64(self.base_values.get(at).copied().unwrap_or(0.0))
    }

    fn finish_targets<T: Real>(&self, sums: &[T], present: &[bool], trees: usize, out: &mut [f32]) {
        let is_average = self.aggregate == Aggregate::Average;
        for (at, slot) in out.iter_mut().enumerate() {
            let sum = if is_average {
                sums[at].divide(trees)
            } else {
                sums[at]
            };
            // A target without a weight is 0 even if it has a base value, unless it is the only one.
            *slot = if present[at] || self.width == 1 {
                (sum + self.base(at)).to_f32()
            } else {
                0.0
            };
        }
        if self.width > 1 {
            self.post_transform.apply(out);
        } else if self.post_transform == PostTransform::Probit {
            // The other transforms are not applied to a single target.
            out[0] = probit(out[0]);
        }
    }

    fn finish_classes<T: Real>(&self, sums: &[T], present: &[bool], out: &mut [f32]) -> u32 {
        let has_base = !self.base_values.is_empty();
        let mut winner = 0;
        let mut best: Option<T> = None;
        for (at, slot) in out.iter_mut().enumerate() {
            let score = sums[at] + self.base(at);
            let counts = present[at] || has_base;
            *slot = if counts { score.to_f32() } else { 0.0 };
            if counts && best.is_none_or(|best| score > best) {
                best = Some(score);
                winner = at as u32;
            }
        }
        self.post_transform.apply(out);
        winner
    }

    fn finish_two<T: Real>(
        &self,
        classes: &Classes,
        sums: &[T],
        present: &[bool],
        out: &mut [f32],
    ) -> u32 {
        let (mut first, mut second) = (sums[0], sums[1]);
        let (has_first, has_second) = (present[0], present[1]);
        let mut one = false;
        match self.base_values.len() {
            2 if has_second => {
                second = self.base::<T>(1) + first;
                first = T::from_f64(-second.into());
            }
            2 => {
                second = second + self.base(1);
                first = first + self.base(0);
            }
            _ => {
                first = first + self.base(0);
                one = !has_second;
            }
        }
        let weight: f64 = if has_second {
            second.into()
        } else if has_first {
            first.into()
        } else {
            0.0
        };
        let winner = if classes.is_one_score {
            let bar = if classes.weights_are_positive {
                0.5
            } else {
                0.0
            };
            u32::from(weight > bar)
        } else {
            RAW + u32::from(weight > 0.0)
        };
        // Whether one score is a probability, and so its complement the other.
        let complement = one && classes.is_one_score && classes.weights_are_positive;
        let is_defined = classes.is_one_score || self.base_values.is_empty();
        let scores = TwoScores {
            scores: [
                if has_first { first.to_f32() } else { 0.0 },
                if has_second { second.to_f32() } else { 0.0 },
            ],
            one,
        };
        self.write_two(&scores, complement, is_defined, out);
        winner
    }

    fn write_two(&self, scores: &TwoScores, complement: bool, is_defined: bool, out: &mut [f32]) {
        if !scores.one {
            out.copy_from_slice(&scores.scores);
            self.post_transform.apply(out);
            return;
        }
        let score = scores.scores[0];
        let (first, second) = match self.post_transform {
            // Nothing defines the second score here: NaN is no answer.
            PostTransform::Probit => (probit(score), f32::NAN),
            _ if !is_defined => (score, f32::NAN),
            PostTransform::Logistic => (logistic(-score), logistic(score)),
            _ if complement => (1.0 - score, score),
            _ => (-score, score),
        };
        out[0] = first;
        out[1] = second;
    }
}
