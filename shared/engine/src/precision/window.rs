//! Where the windows of a convolution lie: strides, dilations, padding and groups, over any number of dimensions.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{TractResult, bail, ensure};

use crate::attributes::{int, ints, text};

/// Most taps of all windows of a row and channel together.
const MAX_TAPS: usize = 1 << 24;

/// A convolution's attributes.
#[derive(Debug)]
pub(crate) struct Window {
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Pads,
    group: usize,
}

/// How the input's edges are padded.
#[derive(Debug)]
enum Pads {
    /// Before each dimension, then after each.
    Given(Vec<usize>),
    /// As many windows as the stride divides the length, the odd one after.
    SameUpper,
    /// The same, the odd one before.
    SameLower,
}

/// A convolution over an input and weights of known shapes.
#[derive(Debug)]
pub(crate) struct Placed {
    rows: usize,
    channels: usize,
    filters: usize,
    group: usize,
    /// One entry a dimension.
    sides: Vec<Side>,
}

/// One dimension of a convolution.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) length: usize,
    kernel: usize,
    /// How many windows there are.
    pub(crate) made: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    /// How much padding stands before the first step.
    pub(crate) before: usize,
}

impl Side {
    /// Steps with all padding that a window reaches.
    pub(crate) fn padded(&self) -> usize {
        let reached = (self.made - 1) * self.stride + self.dilation * (self.kernel - 1) + 1;
        reached.max(self.before + self.length)
    }
}

impl Window {
    /// Reads the attributes; those of a wrong sign were refused before.
    pub(crate) fn parse(node: &NodeProto) -> TractResult<Self> {
        let sizes = |name: &str| {
            ints(node, name)
                .iter()
                .map(|value| *value as usize)
                .collect::<Vec<_>>()
        };
        let pads = match text(node, "auto_pad").unwrap_or(b"NOTSET") {
            b"NOTSET" | b"" => Pads::Given(sizes("pads")),
            b"VALID" => Pads::Given(Vec::new()),
            b"SAME_UPPER" => Pads::SameUpper,
            b"SAME_LOWER" => Pads::SameLower,
            other => bail!("auto_pad `{}` is not known", String::from_utf8_lossy(other)),
        };
        let group = int(node, "group").unwrap_or(1);
        ensure!(group >= 1, "group is {group}; 1 or more is needed");
        Ok(Self {
            strides: sizes("strides"),
            dilations: sizes("dilations"),
            pads,
            group: group as usize,
        })
    }

    /// Lays the windows over `[rows, channels, ..]` for weights of `[filters, channels / group, ..]`.
    pub(crate) fn place(&self, x: &[usize], w: &[usize]) -> TractResult<Placed> {
        ensure!(
            x.len() >= 3 && x.len() == w.len(),
            "an input of {} and weights of {} dimensions",
            x.len(),
            w.len()
        );
        ensure!(
            x[1] == w[1] * self.group && w[0].is_multiple_of(self.group),
            "{} channels and {} filters of {} channels do not make {} groups",
            x[1],
            w[0],
            w[1],
            self.group
        );
        let spatial = x.len() - 2;
        for (name, list, count) in [
            ("strides", &self.strides, spatial),
            ("dilations", &self.dilations, spatial),
        ] {
            ensure!(
                list.is_empty() || list.len() == count,
                "{name} has {} entries for {spatial} dimensions",
                list.len()
            );
        }
        let sides = (0..spatial)
            .map(|at| self.side(at, x[at + 2], w[at + 2], spatial))
            .collect::<TractResult<Vec<_>>>()?;
        let taps = sides.iter().try_fold(1_usize, |taps, side| {
            taps.checked_mul(side.made)?.checked_mul(side.kernel)
        });
        ensure!(
            taps.is_some_and(|taps| taps <= MAX_TAPS),
            "the windows have more than {MAX_TAPS} taps together"
        );
        Ok(Placed {
            rows: x[0],
            channels: x[1],
            filters: w[0],
            group: self.group,
            sides,
        })
    }

    /// Steps from one tap to the next.
    pub(crate) fn dilation(&self, at: usize) -> usize {
        self.dilations.get(at).copied().unwrap_or(1)
    }

    fn side(&self, at: usize, length: usize, kernel: usize, spatial: usize) -> TractResult<Side> {
        let stride = self.strides.get(at).copied().unwrap_or(1);
        let dilation = self.dilation(at);
        let reach = dilation * kernel.saturating_sub(1) + 1;
        let (before, padded) = match &self.pads {
            Pads::Given(pads) => {
                ensure!(
                    pads.is_empty() || pads.len() == 2 * spatial,
                    "pads has {} entries for {spatial} dimensions",
                    pads.len()
                );
                let pad = |at: usize| pads.get(at).copied().unwrap_or(0);
                (pad(at), length + pad(at) + pad(at + spatial))
            }
            same => {
                let windows = length.div_ceil(stride);
                let padded = (windows.saturating_sub(1) * stride + reach).max(length);
                let both = padded - length;
                let is_lower = matches!(same, Pads::SameLower);
                (if is_lower { both.div_ceil(2) } else { both / 2 }, padded)
            }
        };
        ensure!(
            padded >= reach,
            "a window of {reach} over {padded} steps, padding included"
        );
        Ok(Side {
            length,
            kernel,
            made: (padded - reach) / stride + 1,
            stride,
            dilation,
            before,
        })
    }
}

impl Placed {
    /// The one dimension; none where there are more.
    pub(crate) fn only_side(&self) -> Option<&Side> {
        match self.sides.as_slice() {
            [side] => Some(side),
            _ => None,
        }
    }

    /// The result's shape, `[rows, filters, ..]`.
    pub(crate) fn shape(&self) -> Vec<usize> {
        [self.rows, self.filters]
            .into_iter()
            .chain(self.sides.iter().map(|side| side.made))
            .collect()
    }

    /// The result: every window's values and weights through `add`, from 0; what is padded adds nothing.
    pub(crate) fn convolve<T: Copy + Default>(
        &self,
        values: &[T],
        weights: &[T],
        add: impl Fn(T, T, T) -> T,
    ) -> Vec<T> {
        let plane: usize = self.sides.iter().map(|side| side.length).product();
        let taps: usize = self.sides.iter().map(|side| side.kernel).product();
        let windows: usize = self.sides.iter().map(|side| side.made).product();
        let (within, each) = (self.channels / self.group, self.filters / self.group);
        let places: Vec<Vec<(usize, usize)>> = (0..windows)
            .map(|window| self.taps_of(window, taps))
            .collect();
        let mut made = Vec::with_capacity(self.rows * self.filters * windows);
        for row in 0..self.rows {
            for filter in 0..self.filters {
                let first = row * self.channels + filter / each * within;
                for places in &places {
                    let mut sum = T::default();
                    for channel in 0..within {
                        let from = &values[(first + channel) * plane..][..plane];
                        let by = &weights[(filter * within + channel) * taps..][..taps];
                        for (value, weight) in places {
                            sum = add(sum, from[*value], by[*weight]);
                        }
                    }
                    made.push(sum);
                }
            }
        }
        made
    }

    /// The places of a window in a plane and in the kernel, without those in the padding.
    fn taps_of(&self, window: usize, taps: usize) -> Vec<(usize, usize)> {
        (0..taps)
            .filter_map(|tap| {
                let (mut window, mut rest) = (window, tap);
                let (mut at, mut stride) = (0, 1);
                for side in self.sides.iter().rev() {
                    let step =
                        window % side.made * side.stride + rest % side.kernel * side.dilation;
                    window /= side.made;
                    rest /= side.kernel;
                    let place = step.checked_sub(side.before)?;
                    if place >= side.length {
                        return None;
                    }
                    at += place * stride;
                    stride *= side.length;
                }
                Some((at, tap))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Pads, Window};

    /// The definition over two dimensions: every place of the result, by the padded input.
    fn by_definition(
        (x, [rows, channels, height, width]): (&[i32], [usize; 4]),
        (w, [filters, within, tall, wide]): (&[i32], [usize; 4]),
        (stride, dilation, pads): ([usize; 2], [usize; 2], [usize; 4]),
    ) -> Vec<i32> {
        let group = channels / within;
        let at = |row: usize, channel: usize, i: i64, j: i64| {
            if i < 0 || j < 0 || i >= height as i64 || j >= width as i64 {
                0
            } else {
                x[((row * channels + channel) * height + i as usize) * width + j as usize]
            }
        };
        let rows_made = (height + pads[0] + pads[2] - dilation[0] * (tall - 1) - 1) / stride[0] + 1;
        let columns_made =
            (width + pads[1] + pads[3] - dilation[1] * (wide - 1) - 1) / stride[1] + 1;
        let mut made = Vec::new();
        for row in 0..rows {
            for filter in 0..filters {
                let first = filter / (filters / group) * within;
                for i in 0..rows_made {
                    for j in 0..columns_made {
                        let mut sum = 0;
                        for channel in 0..within {
                            for p in 0..tall {
                                for q in 0..wide {
                                    let i =
                                        (i * stride[0] + p * dilation[0]) as i64 - pads[0] as i64;
                                    let j =
                                        (j * stride[1] + q * dilation[1]) as i64 - pads[1] as i64;
                                    let weight =
                                        w[((filter * within + channel) * tall + p) * wide + q];
                                    sum += at(row, first + channel, i, j) * weight;
                                }
                            }
                        }
                        made.push(sum);
                    }
                }
            }
        }
        made
    }

    proptest! {
        #[test]
        fn convolution_is_its_definition(
            (rows, group, within, each) in (1..3_usize, 1..3_usize, 1..3_usize, 1..3_usize),
            (height, width, tall, wide) in (4..7_usize, 4..7_usize, 1..3_usize, 1..4_usize),
            stride in prop::array::uniform2(1..3_usize),
            dilation in prop::array::uniform2(1..3_usize),
            pads in prop::array::uniform4(0..3_usize),
            seed in any::<u32>(),
        ) {
            let x_shape = [rows, group * within, height, width];
            let w_shape = [group * each, within, tall, wide];
            prop_assume!(width + pads[1] + pads[3] > dilation[1] * (wide - 1));
            let numbers = |count: usize, by: u32| -> Vec<i32> {
                (0..count as u32).map(|at| (at.wrapping_mul(seed | 1).wrapping_mul(by) >> 20) as i32 % 100 - 50).collect()
            };
            let x = numbers(x_shape.iter().product(), 2_654_435_761);
            let w = numbers(w_shape.iter().product(), 40_503);
            let window = Window {
                strides: stride.to_vec(),
                dilations: dilation.to_vec(),
                pads: Pads::Given(pads.to_vec()),
                group,
            };
            let found = window
                .place(&x_shape, &w_shape)
                .map_err(|error| TestCaseError::fail(error.to_string()))?
                .convolve(&x, &w, |sum: i32, value, weight| sum + value * weight);
            prop_assert_eq!(found, by_definition((&x, x_shape), (&w, w_shape), (stride, dilation, pads)));
        }
    }
}
