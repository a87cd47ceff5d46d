"""A little ONNX graph builder, and the step from an fp32 graph to ONNX Runtime's dynamic int8."""
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, INT32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32


class Graph:
    def __init__(self):
        self.nodes, self.constants, self.inputs, self.outputs = [], [], [], []

    def input(self, name, dtype, shape):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name, dtype, shape):
        self.outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def const(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, op, *inputs, outputs=1, names=None, domain="", **attributes):
        """Add a node; its inputs may be names, arrays or numbers. Returns its output's name (or names)."""
        inputs = [x if isinstance(x, str) else self.const(np.asarray(x)) for x in inputs]
        names = names or [f"n{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        return names[0] if len(names) == 1 else names

    def linear(self, x, weight, bias=None):
        """x @ weight (+ bias), weight (in, out)."""
        y = self.node("MatMul", x, weight)
        return y if bias is None else self.node("Add", y, bias)

    def norm(self, x, weight, bias, epsilon):
        return self.node("LayerNormalization", x, weight, bias, axis=-1, epsilon=epsilon)

    def save(self, path):
        graph = helper.make_graph(self.nodes, "graph", self.inputs, self.outputs, self.constants)
        model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17),
                                                                      helper.make_opsetid("com.microsoft", 1)])
        onnx.save(model, path + ".new")
        os.replace(path + ".new", path)


def quantize(source, target):
    """ONNX Runtime's dynamic quantisation: int8 weights by channel, activations by tensor at run time."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    quantize_dynamic(source, target + ".new", weight_type=QuantType.QInt8, per_channel=True,
                     op_types_to_quantize=["MatMul", "Attention"], extra_options={"DefaultTensorType": FLOAT})
    os.replace(target + ".new", target)


def session(path, threads):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
