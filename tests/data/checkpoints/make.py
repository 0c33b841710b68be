"""Makes the checkpoints of this folder: torch.save in both of its formats, and what must be refused.

Run in an environment with torch 2.11.0 and numpy, in this folder: python3 make.py
expected.safetensors holds, under CASE/TENSOR, what torch itself says each file's float tensors are, as float32. The old
format names storages by their address in memory, so a second run writes other bytes with the same content.
"""
import collections
import io
import json
import os
import struct
import warnings
import zipfile

import torch
from torch import nn

warnings.simplefilter("ignore")
torch.manual_seed(20220414)
expected = {}


def network():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 3, bias=False)
            self.bn = nn.BatchNorm2d(3)
            self.fc = nn.Linear(3, 4)

    net = Net()
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn_like(tensor))
    return net


def expect(case, state):
    for name, tensor in state.items():
        if tensor.is_floating_point():
            expected[f"{case}/{name}"] = tensor.detach().float().contiguous().clone()


def save(case, content, state=None, old=True, new=True, **kwargs):
    """CASE_old.pth, CASE_zip.pth; `state` is what a reader should find in `content`."""
    for kind, wanted in (("old", old), ("zip", new)):
        if wanted:
            torch.save(content, f"{case}_{kind}.pth", _use_new_zipfile_serialization=kind == "zip", **kwargs)
            if state is not None:
                expect(f"{case}_{kind}", state)


def write_safetensors(path, tensors):
    header, offset = {}, 0
    for name in sorted(tensors):
        size = tensors[name].numel() * 4
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(tensors):
            file.write(tensors[name].numpy().tobytes())


net = network()
state = net.state_dict()

# What must load.
save("module", state, state)
save("dict", dict(state), state)
save("parameters", net.state_dict(keep_vars=True), state)
for dtype in ("half", "bfloat16", "double"):
    cast = collections.OrderedDict((k, getattr(v, dtype)()) for k, v in state.items())
    save(dtype, cast, cast)
special = torch.tensor([0.0, -0.0, 1.0, -2.5, 6.1e-5, 6.0e-8, -5.9e-6, 65504.0, float("inf"), float("-inf"),
                        float("nan")])
cast = {"half": special.half(), "bfloat16": special.bfloat16(),
        "double": torch.tensor([1e300, -1e-300, 0.1], dtype=torch.double)}
save("special_values", cast, cast)

base = torch.randn(2, 3, 4, 5)
views = {
    "transposed": base[0, 0].t(),
    "channels_last": base.clone(memory_format=torch.channels_last),
    "slice": base[1, 1:, 1:3, ::2],
    "expanded": base[0, 0, 0, :1].expand(7, 1, 2),
    "permuted": base.permute(3, 1, 0, 2),
    "whole": base,
    "scalar": base[1, 2, 3, 4],
    "empty": torch.empty(0, 3),
    "empty_slice": base[:, 3:],
}
save("views", views, views)

momentum = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for parameter in net.parameters():
    parameter.grad = torch.ones_like(parameter)
momentum.step()
state = net.state_dict()
wrapped = {"epoch": 90, "arch": "net", "best_acc1": torch.tensor(71.47), "state_dict": state,
           "optimizer": momentum.state_dict(), "lr": 0.1, "done": True, "none": None, "list": [1, 2.5, "x"]}
save("wrapped", wrapped, state)
save("wrapped_model", {"model": dict(state), "steps": 2**40, "negative": -(2**40)}, state)
prefixed = collections.OrderedDict(("module." + k, v) for k, v in state.items())
save("data_parallel", prefixed, state)

# Release files: one .pth in a zip archive.
for kind in ("old", "zip"):
    for name, compression in (("deflated", zipfile.ZIP_DEFLATED), ("stored", zipfile.ZIP_STORED)):
        with zipfile.ZipFile(f"module_{kind}_{name}.pth.zip", "w", compression) as archive:
            archive.write(f"module_{kind}.pth", "net-0123-89abcdef.pth")
        for tensor in [n for n in expected if n.startswith(f"module_{kind}/")]:
            expected[f"module_{kind}_{name}.pth.zip/" + tensor.split("/")[1]] = expected[tensor]
# Lowered limits make Python write all of zip64: extra fields, end record and locator.
limits = zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT
zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT = 10, 0
with zipfile.ZipFile("zip64.pth.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("folder/", b"")
    archive.write("module_old.pth", "folder/net.pth")
zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT = limits
for tensor in [n for n in expected if n.startswith("module_old/")]:
    expected["zip64.pth.zip/" + tensor.split("/")[1]] = expected[tensor]

# What must be refused.
class Evil:
    def __reduce__(self):
        return (os.system, ("touch squant-checkpoint-ran-code",))


save("refused_code", {"weight": torch.ones(2), "evil": Evil()})
save("refused_whole_model", nn.Sequential(nn.Linear(2, 2)), old=False)  # the old format adds torch's source text
save("refused_protocol4", {"weight": torch.ones(2)}, pickle_protocol=4)
save("refused_complex", {"weight": torch.ones(2, dtype=torch.complex64)})
save("refused_sparse", {"weight": torch.eye(2).to_sparse()})
save("refused_float8", {"weight": torch.ones(2).to(torch.float8_e4m3fn)}, old=False)
save("refused_number", {"weight": torch.ones(2), "epoch": 3})
save("refused_list", [torch.ones(2)])
save("refused_integers", {"codes": torch.ones(2, dtype=torch.int8)})
save("refused_key", {0: torch.ones(2)})
torch.jit.save(torch.jit.script(nn.Sequential(nn.Linear(1, 1))), "refused_torchscript.pth")

inner = io.BytesIO()
with zipfile.ZipFile(inner, "w") as archive:
    archive.write("module_old.pth", "net.pth")
with zipfile.ZipFile("refused_nested.pth.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("net.pth", inner.getvalue())
with zipfile.ZipFile("refused_two.pth.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.write("module_old.pth", "a.pth")
    archive.write("module_zip.pth", "b.pth")
with zipfile.ZipFile("refused_empty.pth.zip", "w"):
    pass
with zipfile.ZipFile("refused_lzma.pth.zip", "w", zipfile.ZIP_LZMA) as archive:
    archive.write("module_old.pth", "net.pth")

write_safetensors("expected.safetensors", expected)
