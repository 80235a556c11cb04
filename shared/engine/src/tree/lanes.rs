//! Walks that go in step.

/// How many there are.
pub(super) const LANES: usize = 16;

/// Calls for each lane, written out: the compiler keeps a loop of so many steps, with its counter and its branch, and
/// calls what `array::map` and `array::from_fn` are given.
#[expect(clippy::inline_always, reason = "the innermost loop")]
#[inline(always)]
pub(super) fn each_lane(mut step: impl FnMut(usize)) {
    step(0);
    step(1);
    step(2);
    step(3);
    step(4);
    step(5);
    step(6);
    step(7);
    step(8);
    step(9);
    step(10);
    step(11);
    step(12);
    step(13);
    step(14);
    step(15);
}
