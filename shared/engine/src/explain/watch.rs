//! A look at the clock now and then, so that explaining ends when nobody waits any more.

use std::time::Instant;

/// Ticks between two looks at the clock; one tick is a leaf.
const TICKS: u32 = 256;

/// The deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Late;

/// Watches a deadline.
#[derive(Debug)]
pub(crate) struct Watch {
    deadline: Option<Instant>,
    ticks: u32,
}

impl Watch {
    /// A watch on a deadline; without one, it never passes.
    pub(crate) fn new(deadline: Option<Instant>) -> Self {
        Self { deadline, ticks: 0 }
    }

    /// Fails once the deadline has passed; it is looked at every [`TICKS`] calls, beginning with the first.
    pub(crate) fn tick(&mut self) -> Result<(), Late> {
        if self.ticks > 0 {
            self.ticks -= 1;
            return Ok(());
        }
        self.ticks = TICKS;
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Late),
            _ => Ok(()),
        }
    }
}
