"""Describes a BERT sentence encoder as an ONNX graph whose weights stay in a safetensors file.

The Python package that carries the model ships weights but no graph, so the
graph is written here: embeddings, encoder layers, mean pooling, unit length.
Each initializer is ONNX "external data": a file name, an offset and a length.
The result is a few kilobytes and holds no weight.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from .errors import RagexError
from .weights import Tensor

OPSET = 20
"""The first ONNX operator set that has Gelu; LayerNormalization came with 17."""

IR_VERSION = 9
"""The ONNX file format that goes with operator set 20."""

MASKED = -1e9
"""Added to the attention score of a padding token, so that softmax gives it nothing."""


class Builder:
    """Collects nodes and initializers; every method returns the name of its result."""

    def __init__(self, weights: Mapping[str, Tensor], weights_file: str) -> None:
        self.weights = weights
        self.weights_file = weights_file
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Appends one operator with one output."""
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, values: Sequence[int] | int | float) -> str:
        """A small tensor kept in the graph: integers for shapes and axes, a float for scales."""
        kind = numpy.float32 if isinstance(values, float) else numpy.int64
        name = f"constant_{values}"
        self.initializers[name] = numpy_helper.from_array(numpy.array(values, dtype=kind), name)
        return name

    def weight(self, name: str) -> str:
        """A tensor that stays in the weights file."""
        place = self.weights.get(name)
        if place is None:
            raise RagexError(f"{self.weights_file} has no tensor {name}: not the weights of a BERT encoder")
        if place.dtype != "F32":
            raise RagexError(f"tensor {name} in {self.weights_file} has type {place.dtype}, expected F32")
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=place.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self.weights_file), ("offset", place.offset), ("length", place.length)):
            tensor.external_data.add(key=key, value=str(value))
        self.initializers[name] = tensor
        return name

    def dense(self, rows: str, name: str) -> str:
        """rows · Wᵀ + b, with the weights as PyTorch stores them."""
        return self.node("Gemm", rows, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), transB=1)

    def normalize(self, values: str, name: str, epsilon: float) -> str:
        """Layer normalization over the last axis."""
        scale, shift = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.node("LayerNormalization", values, scale, shift, axis=-1, epsilon=epsilon)


def sentence_encoder(config: Mapping[str, Any], weights: Mapping[str, Tensor], weights_file: str) -> ModelProto:
    """The graph from `input_ids` and `attention_mask` to `embedding`.

    The inputs are int64, batch × tokens; the output is float32, batch × size, in rows of length 1.
    """
    if config.get("hidden_act") != "gelu" or config.get("position_embedding_type", "absolute") != "absolute":
        raise RagexError("the model is not a BERT with gelu and absolute positions, the only kind ragex can describe")
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    epsilon = float(config["layer_norm_eps"])
    graph = Builder(weights, weights_file)

    # The encoder works on rows, one per token of the batch; attention needs batch × head × token × dimension.
    shape = graph.node("Shape", "input_ids")
    rows_shape = graph.constant([-1, hidden])
    heads_shape = graph.node("Concat", shape, graph.constant([heads, hidden // heads]), axis=0)
    mask = graph.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    column = graph.node("Unsqueeze", mask, graph.constant([2]))
    absent = graph.node("Sub", graph.constant(1.0), graph.node("Unsqueeze", mask, graph.constant([1, 2])))
    penalty = graph.node("Mul", absent, graph.constant(MASKED))

    words = graph.node("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids")
    tokens = graph.node("Slice", shape, graph.constant([1]), graph.constant([2]))
    table = graph.weight("embeddings.position_embeddings.weight")
    positions = graph.node("Slice", table, graph.constant([0]), tokens, graph.constant([0]))
    segment = graph.node("Gather", graph.weight("embeddings.token_type_embeddings.weight"), graph.constant(0))
    summed = graph.node("Add", graph.node("Add", words, positions), segment)
    rows = graph.node("Reshape", graph.normalize(summed, "embeddings.LayerNorm", epsilon), rows_shape)

    for index in range(int(config["num_hidden_layers"])):
        layer = f"encoder.layer.{index}"
        query, key, value = (
            graph.node("Reshape", graph.dense(rows, f"{layer}.attention.self.{part}"), heads_shape)
            for part in ("query", "key", "value")
        )
        query = graph.node("Transpose", query, perm=[0, 2, 1, 3])
        key = graph.node("Transpose", key, perm=[0, 2, 3, 1])
        value = graph.node("Transpose", value, perm=[0, 2, 1, 3])
        scores = graph.node("Mul", graph.node("MatMul", query, key), graph.constant((hidden // heads) ** -0.5))
        attention = graph.node("Softmax", graph.node("Add", scores, penalty), axis=-1)
        mixed = graph.node("Transpose", graph.node("MatMul", attention, value), perm=[0, 2, 1, 3])
        attended = graph.dense(graph.node("Reshape", mixed, rows_shape), f"{layer}.attention.output.dense")
        rows = graph.normalize(graph.node("Add", attended, rows), f"{layer}.attention.output.LayerNorm", epsilon)
        inner = graph.node("Gelu", graph.dense(rows, f"{layer}.intermediate.dense"))
        outer = graph.dense(inner, f"{layer}.output.dense")
        rows = graph.normalize(graph.node("Add", outer, rows), f"{layer}.output.LayerNorm", epsilon)

    states = graph.node("Reshape", rows, graph.node("Concat", shape, graph.constant([hidden]), axis=0))
    total = graph.node("ReduceSum", graph.node("Mul", states, column), graph.constant([1]), keepdims=0)
    mean = graph.node("Div", total, graph.node("ReduceSum", column, graph.constant([1]), keepdims=0))
    length = graph.node("ReduceL2", mean, graph.constant([1]), keepdims=1)
    graph.nodes.append(helper.make_node("Div", [mean, length], ["embedding"], name="embedding"))

    ids = ["batch", "tokens"]
    description = helper.make_graph(
        graph.nodes,
        "sentence_encoder",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ids) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", hidden])],
        list(graph.initializers.values()),
    )
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(description, opset_imports=opset, ir_version=IR_VERSION, producer_name="ragex")
