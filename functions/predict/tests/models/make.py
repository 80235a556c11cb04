"""Makes the small models of the tests.

`same` and `thousandth`, for the ladder: value = x, and value = x / 1000. `line` and `slope`, which are explained:
value = 2a - 3b + 1 of x = [a, b], and value = x / 1000. `woven`: a tree of 22 branches and one leaf, whose branches
lead both ways to the next one: a row is scored in no time, and explained over four million paths.

Needs `onnx`; the files it writes are committed.
"""

import pathlib

import onnx
from onnx import TensorProto, helper

HERE = pathlib.Path(__file__).parent

WOVEN = 22


def write(name: str, nodes: list, width: int, initializers: list) -> None:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", width])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, ["rows", 1])],
        initializers,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    used = {node.domain for node in nodes}
    opsets = [opset for opset in opsets if opset.domain in used]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="sealcast-tests")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())


for name, factor in [("same", 1.0), ("thousandth", 0.001)]:
    factor = helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])
    write(name, [helper.make_node("Mul", ["x", "factor"], ["value"])], 1, [factor])

for name, coefficients, intercept in [("line", [2.0, -3.0], 1.0), ("slope", [0.001], 0.0)]:
    linear = helper.make_node(
        "LinearRegressor",
        ["x"],
        ["value"],
        domain="ai.onnx.ml",
        coefficients=coefficients,
        intercepts=[intercept],
        targets=1,
    )
    write(name, [linear], len(coefficients), [])

branches, leaf = range(WOVEN), WOVEN
tree = helper.make_node(
    "TreeEnsembleRegressor",
    ["x"],
    ["value"],
    domain="ai.onnx.ml",
    n_targets=1,
    nodes_treeids=[0] * (WOVEN + 1),
    nodes_nodeids=[*branches, leaf],
    nodes_featureids=[*branches, 0],
    nodes_modes=["BRANCH_LEQ"] * WOVEN + ["LEAF"],
    nodes_values=[0.0] * (WOVEN + 1),
    nodes_truenodeids=[*(at + 1 for at in branches), 0],
    nodes_falsenodeids=[*(at + 1 for at in branches), 0],
    target_treeids=[0],
    target_nodeids=[leaf],
    target_ids=[0],
    target_weights=[7.0],
)
write("woven", [tree], WOVEN, [])
