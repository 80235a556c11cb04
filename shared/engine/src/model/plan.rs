//! Plans of the graph engine: one for each set of concrete input shapes.
//!
//! A symbolic batch breaks stacked recurrent nets and more, so every batch size is planned for itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use artifact::manifest::DataType;
use tract_onnx::prelude::{
    InferenceModel, InferenceModelExt, IntoTValue, TVec, TractError, TractResult, TypedModel,
    TypedSimplePlan, TypedSimpleState,
};
use tract_onnx::tract_hir::infer::{Factoid, InferenceFact};

use super::tract_tensor::{from_tract, read_datatype, to_tract};
use super::{TensorSpec, guard, rows};
use crate::error::{LoadError, RunError};
use crate::precision::Batching;
use crate::sequence;
use crate::tensor::{Tensor, TensorData};

/// The graph engine's own words.
fn refused(error: &TractError) -> LoadError {
    LoadError::Refused {
        reason: format!("{error:#}"),
    }
}

/// Sets of shapes that are kept planned; the one unused for longest makes room.
const MAX_PLANS: usize = 16;
/// Idle run states that are kept a plan; more than this many concurrent runs make their own.
const MAX_IDLE_STATES: usize = 32;

/// A graph and its plans.
#[derive(Debug)]
pub(super) struct Plans {
    graph: InferenceModel,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    kept: RwLock<Vec<Arc<Plan>>>,
    clock: AtomicU64,
    bounds: Bounds,
    batching: Batching,
}

/// What a plan may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Most elements of any tensor.
    pub(super) elements: usize,
    /// Most bytes of all packed weights of recurrent nodes.
    pub(super) packed_bytes: usize,
}

/// One plan, with the run states that are idle.
#[derive(Debug)]
struct Plan {
    shapes: Vec<Vec<usize>>,
    runnable: Arc<TypedSimplePlan>,
    idle: Mutex<Vec<TypedSimpleState>>,
    last_used: AtomicU64,
}

impl Plans {
    pub(super) fn new(
        graph: InferenceModel,
        inputs: Vec<TensorSpec>,
        outputs: Vec<TensorSpec>,
        bounds: Bounds,
        batching: Batching,
    ) -> Self {
        Self {
            graph,
            inputs,
            outputs,
            kept: RwLock::new(Vec::new()),
            clock: AtomicU64::new(0),
            bounds,
            batching,
        }
    }

    /// Runs the graph on tensors in its order, whose first dimension is the row's wherever the graph leaves it open.
    pub(super) fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, RunError> {
        match (self.batching, rows::count(&self.inputs, inputs)) {
            (Batching::OneByOne, Some(count)) if count > 1 => {
                rows::each(count, inputs, |row| self.run_whole(row))
            }
            _ => self.run_whole(inputs),
        }
    }

    fn run_whole(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, RunError> {
        let failed = |error: TractError| RunError::Failed {
            reason: format!("{error:#}"),
        };
        let plan = match self.find(inputs) {
            Some(plan) => plan,
            None => self.add(inputs.iter().map(|tensor| tensor.shape.clone()).collect())?,
        };
        let values = inputs
            .iter()
            .map(|tensor| to_tract(&tensor.shape, &tensor.data).map(IntoTValue::into_tvalue))
            .collect::<Result<TVec<_>, _>>()
            .map_err(failed)?;
        let idle = plan
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut state = match idle {
            Some(state) => state,
            None => plan.runnable.spawn().map_err(failed)?,
        };
        // A state that fails or panics is dropped, never used again.
        let outputs = state.run(values).map_err(failed)?;
        let outputs = self
            .outputs
            .iter()
            .zip(outputs)
            .map(|(spec, value)| from_tract(&spec.name, &value))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        // The graph engine's loops go on where the last run ended: such a state is not used again.
        if state.op_states.iter().all(Option::is_none) {
            let mut idle = plan.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < MAX_IDLE_STATES {
                idle.push(state);
            }
        }
        Ok(outputs)
    }

    fn find(&self, inputs: &[&Tensor]) -> Option<Arc<Plan>> {
        let plans = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let found = plans.iter().find(|plan| {
            plan.shapes
                .iter()
                .zip(inputs)
                .all(|(own, tensor)| *own == tensor.shape)
        })?;
        found.last_used.store(
            self.clock.fetch_add(1, Ordering::Relaxed),
            Ordering::Relaxed,
        );
        Some(Arc::clone(found))
    }

    /// The graph for some shapes, within the bounds; nothing is packed or optimised yet.
    fn settle(&self, shapes: &[Vec<usize>]) -> Result<TypedModel, LoadError> {
        let graph = self
            .concretise(shapes)
            .and_then(InferenceModelExt::into_typed);
        let graph = graph.map_err(|error| refused(&error))?;
        for node in graph.nodes() {
            for output in &node.outputs {
                let volume = output.fact.shape.volume().as_i64();
                let volume = volume.map_or(0, |volume| volume as usize);
                if volume > self.bounds.elements {
                    return Err(LoadError::TooLarge {
                        what: format!("the number of elements that node `{}` makes", node.name),
                        actual: volume,
                        limit: self.bounds.elements,
                    });
                }
            }
        }
        let packed = sequence::packed_size(&graph);
        if packed > self.bounds.packed_bytes {
            return Err(LoadError::TooLarge {
                what: "the packed weights of the recurrent nodes, in bytes,".to_owned(),
                actual: packed,
                limit: self.bounds.packed_bytes,
            });
        }
        Ok(graph)
    }

    /// Plans the shapes of one row.
    pub(super) fn plan_ahead(&self, shapes: Vec<Vec<usize>>) -> Result<(), LoadError> {
        let graph = self.settle(&shapes)?;
        let refused = |error: TractError| refused(&error);
        for (at, spec) in self.outputs.iter().enumerate() {
            let found = graph.output_fact(at).map_err(refused)?.datum_type;
            if read_datatype(found) != Some(spec.datatype) {
                return Err(LoadError::graph(format!(
                    "output `{}` is said to be {}, but the graph makes {found:?}",
                    spec.name,
                    spec.datatype.name()
                )));
            }
        }
        let plan = graph
            .into_decluttered()
            .and_then(TypedModel::into_optimized)
            .and_then(TypedSimplePlan::new);
        self.keep(shapes.clone(), plan.map_err(refused)?);
        self.warm_up(&shapes)
    }

    /// Runs the planned shapes, so that an operator that cannot be run in its type is found before a request comes.
    ///
    /// What operators say of a value (a place, a divisor) is no fault of the graph: it is refused where neither zeros
    /// nor ones run, unless an input of whole numbers may say what shape something has.
    fn warm_up(&self, shapes: &[Vec<usize>]) -> Result<(), LoadError> {
        let ask = |fill: u8| {
            let tensors: Vec<Tensor> = self
                .inputs
                .iter()
                .zip(shapes)
                .map(|(spec, shape)| Tensor {
                    name: spec.name.clone(),
                    shape: shape.clone(),
                    data: TensorData::filled(spec.datatype, shape.iter().product(), fill),
                })
                .collect();
            guard(|| self.run_whole(&tensors.iter().collect::<Vec<_>>()))
        };
        let may_be_shapes = self.inputs.iter().any(|spec| {
            matches!(spec.datatype, DataType::Int32 | DataType::Int64)
                && spec.shape.first() != Some(&-1)
        });
        let made = match ask(0).or_else(|_| ask(1)) {
            Ok(made) => made,
            Err(_) if may_be_shapes => return Ok(()),
            Err(error) => {
                return Err(LoadError::Refused {
                    reason: error.to_string(),
                });
            }
        };
        let is_split =
            self.batching == Batching::OneByOne && self.inputs.iter().all(rows::may_have_rows);
        let mixed = made.iter().find(|tensor| tensor.shape.first() != Some(&1));
        match mixed {
            Some(tensor) if is_split => Err(LoadError::graph(format!(
                "output `{}` has the shape {:?} for one row, and an int8 graph is run row by row: its first dimension \
                 must be the row's",
                tensor.name, tensor.shape
            ))),
            _ => Ok(()),
        }
    }

    /// Plans a set of shapes; no lock is held meanwhile.
    fn add(&self, shapes: Vec<Vec<usize>>) -> Result<Arc<Plan>, RunError> {
        let failed = |reason: String| RunError::Failed { reason };
        let graph = self
            .settle(&shapes)
            .map_err(|error| match (error, self.inputs.first()) {
                (error @ LoadError::TooLarge { .. }, Some(input)) => RunError::Input {
                    input: input.name.clone(),
                    reason: format!("of the shape {:?}, {error}", shapes[0]),
                },
                (error, _) => failed(error.to_string()),
            })?;
        let plan = graph
            .into_optimized()
            .and_then(TypedSimplePlan::new)
            .map_err(|error| failed(format!("{error:#}")))?;
        Ok(self.keep(shapes, plan))
    }

    fn keep(&self, shapes: Vec<Vec<usize>>, runnable: Arc<TypedSimplePlan>) -> Arc<Plan> {
        let plan = Arc::new(Plan {
            shapes,
            runnable,
            idle: Mutex::new(Vec::new()),
            last_used: AtomicU64::new(self.clock.fetch_add(1, Ordering::Relaxed)),
        });
        let mut plans = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have planned the same shapes meanwhile.
        if let Some(other) = plans.iter().find(|other| other.shapes == plan.shapes) {
            return Arc::clone(other);
        }
        if plans.len() >= MAX_PLANS
            && let Some(oldest) = plans
                .iter()
                .enumerate()
                .min_by_key(|(_, plan)| plan.last_used.load(Ordering::Relaxed))
                .map(|(at, _)| at)
        {
            plans.swap_remove(oldest);
        }
        plans.push(Arc::clone(&plan));
        plan
    }

    fn concretise(&self, shapes: &[Vec<usize>]) -> TractResult<InferenceModel> {
        let mut graph = self.graph.clone();
        for (at, shape) in shapes.iter().enumerate() {
            let datum_type = graph.input_fact(at)?.datum_type.concretize();
            let mut fact = InferenceFact::default().with_shape(shape.as_slice());
            if let Some(datum_type) = datum_type {
                fact = fact.with_datum_type(datum_type);
            }
            graph.set_input_fact(at, fact)?;
        }
        Ok(graph)
    }
}
