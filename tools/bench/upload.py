"""What is sent: the body of a request, on disk as load generators read it, and its right answer."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

BOUNDARY: Final = "9f1c7ab02e5d4c36"
_IMAGE: Final = re.compile(r'"image"\s*:\s*"[^"]*?(photo-\w+\.jpg)"')
_LABEL: Final = re.compile(r'"label"\s*:\s*"([^"]*)"')


@dataclass(frozen=True)
class Upload:
    """One request.

    Attributes:
        name: The file's name: `photo-` and letters or digits, `.jpg`.
        label: The right answer; empty: not known yet, or not looked at.
        body: A file of the request's body.
        kind: Its Content-Type.
        path: Where it is posted.
        tensors_from: Where KServe's tensors begin in the body; 0: it is no such request.
    """

    name: str
    label: str
    body: Path
    kind: str = f"multipart/form-data; boundary={BOUNDARY}"
    path: str = "/predict"
    tensors_from: int = 0

    @property
    def headers(self) -> dict[str, str]:
        """Those that tell what the body is."""
        told = {"Content-Type": self.kind}
        if self.tensors_from:
            told["Inference-Header-Content-Length"] = str(self.tensors_from)
        return told

    def answered_by(self, text: str) -> bool:
        """Whether this is the right answer: it names the file, and what the photo shows."""
        plain = text.replace("\\", "")
        image, label = _IMAGE.search(plain), _LABEL.search(plain)
        return bool(image and label) and (image[1], label[1]) == (self.name, self.label)  # type: ignore[index]

    def to(self, path: str) -> "Upload":
        """The same, posted elsewhere, where the answer does not hold the label yet."""
        return replace(self, path=path, label="", name="")


def form(folder: Path, name: str, data: bytes, label: str) -> Upload:
    """An upload as a form, as browsers and curl send it.

    Args:
        folder: Gets the body.
        name: The file's.
        data: The file.
        label: The right answer.
    """
    head = (
        f"--{BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="image"; filename="{name}"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    body = folder / f"{name}.form"
    body.write_bytes(head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode())
    return Upload(name, label, body)


def tensors(folder: Path, name: str, data: bytes, label: str) -> Upload:
    """An upload as KServe's binary tensors, for Triton: the name and the file.

    Args:
        folder: Gets the body.
        name: The file's.
        data: The file.
        label: The right answer.
    """
    parts = [len(value).to_bytes(4, "little") + value for value in (name.encode(), data)]
    inputs = [
        {"name": key, "shape": [1, 1], "datatype": "BYTES",
         "parameters": {"binary_data_size": len(part)}}
        for key, part in zip(("name", "image"), parts, strict=True)
    ]  # fmt: skip
    head = json.dumps({"inputs": inputs, "outputs": [{"name": "answer"}]}).encode()
    body = folder / f"{name}.tensors"
    body.write_bytes(head + b"".join(parts))
    kind, path = "application/octet-stream", "/v2/models/bench/infer"
    return Upload(name, label, body, kind, path, tensors_from=len(head))
