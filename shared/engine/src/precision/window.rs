//! Where the windows of a convolution lie: strides, dilations, padding and groups, over any number of dimensions.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{TractResult, bail, ensure};

use crate::attributes::{int, ints, text};

/// A convolution's attributes.
#[derive(Debug)]
pub(super) struct Window {
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
pub(super) struct Placed {
    rows: usize,
    channels: usize,
    filters: usize,
    group: usize,
    /// One entry a dimension.
    sides: Vec<Side>,
}

/// One dimension of a convolution.
#[derive(Debug)]
struct Side {
    length: usize,
    kernel: usize,
    made: usize,
    stride: usize,
    dilation: usize,
    before: usize,
}

impl Window {
    /// Reads the attributes; those of a wrong sign were refused before.
    pub(super) fn parse(node: &NodeProto) -> TractResult<Self> {
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
    pub(super) fn place(&self, x: &[usize], w: &[usize]) -> TractResult<Placed> {
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
        Ok(Placed {
            rows: x[0],
            channels: x[1],
            filters: w[0],
            group: self.group,
            sides,
        })
    }

    fn side(&self, at: usize, length: usize, kernel: usize, spatial: usize) -> TractResult<Side> {
        let stride = self.strides.get(at).copied().unwrap_or(1);
        let dilation = self.dilations.get(at).copied().unwrap_or(1);
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
    /// The result's shape, `[rows, filters, ..]`.
    pub(super) fn shape(&self) -> Vec<usize> {
        [self.rows, self.filters]
            .into_iter()
            .chain(self.sides.iter().map(|side| side.made))
            .collect()
    }

    /// The result: every window's values and weights through `add`, from 0; what is padded adds nothing.
    pub(super) fn convolve<T: Copy + Default>(
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
