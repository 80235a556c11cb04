//! Whole artifacts: sealed, opened, changed, and read from the committed vectors.

#[cfg(test)]
mod opening;
#[cfg(test)]
mod packed;
#[cfg(test)]
mod sealing;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tampering;
#[cfg(test)]
mod vectors;
