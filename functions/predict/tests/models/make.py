"""Makes the two small models of the ladder's tests: value = x, and value = x / 1000.

Needs `onnx`; the files it writes are committed.
"""

import pathlib

import onnx
from onnx import TensorProto, helper

HERE = pathlib.Path(__file__).parent

for name, factor in [("same", 1.0), ("thousandth", 0.001)]:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["value"])],
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 1])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, ["rows", 1])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="sealcast-tests")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())
