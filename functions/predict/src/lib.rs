//! Predictions: the Open Inference Protocol (`/v2`) and `/v1/predict`.
//!
//! One request's way: [`routes`] parse it into an [`InferenceRequest`],
//! [`Predict::answer`] claims its id, sanitizes, climbs the [`ladder`], where it
//! is asked [`explain`]s, records and only then gives the [`Answered`] that a
//! route writes out.

pub mod answer;
mod back_off;
mod claim;
pub mod config;
pub mod explain;
pub mod function;
pub mod ladder;
pub mod load;
pub mod oip;
mod pinned;
pub mod place;
mod pulse;
mod record;
pub mod routes;
pub mod serving;
pub mod stored;
mod tensor_json;

pub use answer::{Answered, InferenceRequest};
pub use back_off::BackOff;
pub use function::Predict;
pub use load::{LoadSlot, Loader};
pub use routes::router;
pub use serving::Serving;
