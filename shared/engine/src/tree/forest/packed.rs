//! A forest in the packed form: its shape, the trees in that shape, the leaves.

use super::{Forest, Shape};
use crate::error::LoadError;
use crate::limits::LoadLimits;
use crate::packed::{Reader, Writer};
use crate::tree::attributes::Aggregate;
use crate::tree::leaves::Leaves;
use crate::tree::linked::{Linked, column_bits};
use crate::tree::oblivious::Oblivious;
use crate::tree::real::Real;
use crate::tree::rows::Missing;
use crate::tree::ruled::Ruled;

impl<T: Real> Forest<T> {
    /// Writes everything but what is the operator's: how many outputs there are, and the aggregate.
    pub(in crate::tree) fn pack(&self, out: &mut Writer) {
        out.count(self.columns);
        out.one(match self.missing {
            Missing::High => 0_u8,
            Missing::Low => 1,
            Missing::Both(_) => 2,
        });
        let (number, trees): (u8, &dyn Fn(&mut Writer)) = match &self.shape {
            Shape::Oblivious(trees) => (0, &|out| trees.pack(out)),
            Shape::Linked(trees) => (1, &|out| trees.pack(out)),
            Shape::Ruled(trees) => (2, &|out| trees.pack(out)),
        };
        out.one(number);
        trees(out);
        let is_leaf = |place| self.shape.is_leaf(place);
        self.leaves
            .write(self.shape.places(), is_leaf, self.width, out);
    }

    /// Reads what [`Forest::pack`] wrote; `left` are the tree nodes that the model may still have.
    pub(in crate::tree) fn unpack(
        input: &mut Reader<'_>,
        width: usize,
        aggregate: Aggregate,
        left: &mut usize,
        limits: &LoadLimits,
    ) -> Result<Self, LoadError> {
        let columns = input.count()?;
        if !(1..=limits.max_elements).contains(&columns) {
            return Err(input.fault(format!("trees of {columns} features")));
        }
        let missing = input.choice(
            "way of missing values",
            &[Missing::High, Missing::Low, Missing::Both(columns)],
        )?;
        let wide = missing.width(columns);
        let shape = match input.one::<u8>()? {
            0 => Shape::Oblivious(Oblivious::unpack(input, wide)?),
            1 => {
                let bits = column_bits(wide)
                    .ok_or_else(|| input.fault(format!("linked trees of {wide} columns")))?;
                Shape::Linked(Linked::unpack(input, wide, bits, limits)?)
            }
            2 if missing == Missing::High => Shape::Ruled(Ruled::unpack(input, columns, limits)?),
            other => return Err(input.fault(format!("{other} is no shape of such trees"))),
        };
        let places = shape.places();
        *left = left
            .checked_sub(places)
            .ok_or_else(|| LoadError::TooLarge {
                what: "the number of tree nodes".to_owned(),
                actual: places,
                limit: limits.max_tree_nodes,
            })?;
        let is_leaf = |place| shape.is_leaf(place);
        let leaves = Leaves::read(input, places, is_leaf, width)?;
        Ok(Self {
            shape,
            missing,
            leaves,
            aggregate,
            width,
            columns,
        })
    }
}

impl<T: Real> Shape<T> {
    /// Places that a walk can end at, or pass.
    fn places(&self) -> usize {
        match self {
            Self::Oblivious(trees) => trees.places(),
            Self::Linked(trees) => trees.places(),
            Self::Ruled(trees) => trees.places(),
        }
    }

    /// True for a place that a walk can end at.
    fn is_leaf(&self, place: usize) -> bool {
        match self {
            Self::Oblivious(_) => true,
            Self::Linked(trees) => trees.is_leaf(place),
            Self::Ruled(trees) => trees.is_leaf(place),
        }
    }
}
