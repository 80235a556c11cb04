//! How much a model may ask of the process that loads it.

use std::time::Duration;

/// Caps on an untrusted model. Each is checked before the memory or time that it guards is spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadLimits {
    /// Longest ONNX file, in bytes.
    pub max_bytes: usize,
    /// Most nodes in the graph.
    pub max_nodes: usize,
    /// Most elements in one tensor: an initialiser, or a shape that the graph states.
    pub max_elements: usize,
    /// Most nodes (branches and leaves) in all tree ensembles of the model together.
    pub max_tree_nodes: usize,
    /// Longest path from a tree's root to a leaf, in edges.
    pub max_tree_depth: usize,
    /// Longest time that validating, optimising and planning may take.
    pub deadline: Duration,
}

impl Default for LoadLimits {
    /// 64 MiB, 20,000 nodes, 64 Mi elements, 4 Mi tree nodes, depth 4,096, 10 seconds.
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            max_nodes: 20_000,
            max_elements: 64 << 20,
            max_tree_nodes: 4 << 20,
            max_tree_depth: 4096,
            deadline: Duration::from_secs(10),
        }
    }
}
