//! Support vector machines: `SVMClassifier` and `SVMRegressor`, as libsvm and onnxruntime compute them.

mod classifier;
mod kernel;
mod regressor;

pub(crate) use classifier::SvmClassifier;
pub(crate) use regressor::SvmRegressor;
