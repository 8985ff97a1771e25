"""OpenVINO's graph of a language model, made of its GGUF file: the same weights in 4 and 8 bits, and named layers."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.errors import UnsupportedModelError
from nlptasks.process import import_alone
from nlptasks.runtime.compiled.graph import import_openvino
from nlptasks.store.adapters import PEFT_WEIGHTS

if TYPE_CHECKING:
    from nlptasks.store.adapters import AdapterFolder

GRAPH = "openvino_model.xml"

PROJECTIONS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""A Llama layer's linear projections by transformers' names, with GGUF's; OpenVINO GenAI builds them in this order."""

EXACT = frozenset({"F32", "F16", "Q8_0", "Q4_0"})
"""GGUF's number formats that OpenVINO GenAI reads as they are."""

_FACTOR = re.compile(
    rf"base_model\.model\.(model\.layers\.\d+\.(?:{'|'.join(map(re.escape, PROJECTIONS))}))\.lora_(A|B)\.weight"
)
_Q4_1_BYTES = 20
"""A block of 32 weights of Q4_1: scale and minimum in float16, then 4 bits a weight."""


def gguf_file(base: Path) -> Path | None:
    """The GGUF file in a base's folder, or None if there is none, or more than one."""
    files = list(base.glob("*.gguf"))
    return files[0] if len(files) == 1 else None


def make_graph(gguf: Path, folder: Path) -> None:
    """Write the graph of a GGUF file of Llama's architecture into a folder.

    Raises:
        UnsupportedModelError: OpenVINO GenAI cannot read the file, or not without loss.
    """
    openvino = import_openvino()
    import openvino_genai
    from gguf import GGUFReader

    reader = GGUFReader(gguf)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    formats = {tensor.tensor_type.name for tensor in tensors.values()}
    if lossy := formats - EXACT - {"Q4_1"}:
        raise UnsupportedModelError(f"{gguf.name}: expected weights in {_list(EXACT)} or Q4_1, found {_list(lossy)}.")
    # GenAI writes its graph beside the file that it reads.
    copied = folder / gguf.name
    copied.symlink_to(gguf.resolve())
    try:
        openvino_genai.ContinuousBatchingPipeline(
            str(copied), openvino_genai.SchedulerConfig(), "CPU", {"enable_save_ov_model": True}
        )
        model = openvino.Core().read_model(folder / GRAPH)
        for name, layer in _name_layers(model).items():
            tensor = _tensor_of(name, tensors)
            if tensor.tensor_type.name == "Q4_1":
                _restore_minimum(layer, tensor, _num_heads(reader))
        made = folder / "made"
        made.mkdir()
        openvino.save_model(model, made / GRAPH, compress_to_fp16=False)
    except RuntimeError as error:
        raise UnsupportedModelError(f"OpenVINO GenAI cannot read {gguf.name}: {error}") from error
    finally:
        copied.unlink()
    del model
    for path in list(folder.glob("openvino*")):
        path.unlink()
    for path in made.iterdir():
        path.rename(folder / path.name)
    shutil.rmtree(made)


def _name_layers(model: Any) -> dict[str, Any]:
    """The products with a layer's weights, by the names of the modules in transformers, which they get.

    A LoRA file names them so. GenAI numbers its operations as it makes them.
    """
    products = [
        operation
        for operation in model.get_ordered_ops()
        if operation.get_type_name() == "MatMul" and operation.input(1).get_partial_shape().is_static
    ]
    products.sort(key=lambda operation: int(operation.get_friendly_name().rpartition("_")[2]))
    layers, rest = divmod(len(products), len(PROJECTIONS))
    if rest != 1:  # the last one is the output layer
        raise UnsupportedModelError(f"expected {len(PROJECTIONS)} products a layer and one more, found {len(products)}")
    names = [f"model.layers.{number}.{projection}" for number in range(layers) for projection in PROJECTIONS]
    named = dict(zip(names, products, strict=False))
    for name, product in named.items():
        product.set_friendly_name(name)
    return named


def _tensor_of(name: str, tensors: dict[str, Any]) -> Any:
    _, _, number, projection = name.split(".", 3)
    return tensors[f"blk.{number}.{PROJECTIONS[projection]}.weight"]


def _num_heads(reader: Any) -> list[int]:
    """Heads of queries and of keys."""
    names = ("llama.attention.head_count", "llama.attention.head_count_kv")
    return [int(reader.fields[name].contents()) for name in names if name in reader.fields]


def _restore_minimum(layer: Any, tensor: Any, num_heads: list[int]) -> None:
    """Give a layer's weights the minimum of each block as the file has it.

    Q4_1 is `scale * bits + minimum` (ggml's block_q4_1). GenAI writes it as `scale * (bits - zero)` with `zero` rounded
    to 4 bits: a relative error of 9 % in SmolLM2's weights, which raised its perplexity from 20.2 to 26.0.
    """
    import numpy

    openvino = import_openvino()
    rows = tensor.data.shape[0]
    blocks = tensor.data.reshape(rows, -1, _Q4_1_BYTES)
    scale, minimum = (blocks[..., at : at + 2].copy().view(numpy.float16)[..., 0] for at in (0, 2))
    product = _source(layer, 1)
    while product.get_type_name() != "Multiply":
        product = _source(product, 0)
    expected = numpy.array(_source(product, 1).data)[..., 0]
    # llama.cpp's converter changes the order of the rows of queries and keys, and GenAI changes it back.
    orders = [numpy.arange(rows)]
    orders += [orders[0].reshape(heads, -1, 2).swapaxes(1, 2).reshape(-1) for heads in num_heads if rows % heads == 0]
    order = next((order for order in orders if numpy.array_equal(scale[order], expected)), None)
    if order is None:
        raise UnsupportedModelError("the scales in OpenVINO's graph are not those of the file")
    zero = -minimum[order].astype(numpy.float32) / numpy.where(expected == 0, 1, expected.astype(numpy.float32))
    exact = openvino.op.Constant(zero[..., None].astype(numpy.float16))
    _source(product, 0).input(1).replace_source_output(exact.output(0))


def _source(operation: Any, number: int) -> Any:
    return operation.input(number).get_source_output().get_node()


def _list(names: Any) -> str:
    return ", ".join(sorted(names))


def lora_file(adapter: AdapterFolder) -> bytes | None:
    """The LoRA factors of an adapter as a safetensors file for GenAI, the scaling in B; None if it has anything else.

    Weights that are no finite numbers are left to torch as well, which names them.
    """
    import_alone("nlptasks.runtime.loading.folding")
    from safetensors.torch import load_file, save

    from nlptasks.runtime.loading.folding import scaling_of

    factors = {}
    for name, tensor in load_file(adapter.path / PEFT_WEIGHTS).items():
        match = _FACTOR.fullmatch(name)
        if not match or not tensor.isfinite().all():
            return None
        # PEFT applies `scaling * B A`; what GenAI makes of a file's own scaling it does not say.
        scaling = scaling_of(adapter.peft, f"{match[1]}.weight", tensor.shape[1]) if match[2] == "B" else 1.0
        factors[name] = tensor.float() * scaling
    return save(factors) if factors else None
