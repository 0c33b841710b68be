"""squant-quantize's files in other hands: quantize_python.py format|torch PROGRAM CHECKPOINT FOLDER

format: reads them by the format's specification, with Python's standard library alone (and once more with the package
        safetensors, where it is there).
torch:  saves a network's state dict, quantizes it, and loads it into the network again. Exit code 77: no torch here.
"""

import array
import json
import os
import struct
import subprocess
import sys

SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "F16": 2, "BF16": 2, "I32": 4, "F32": 4, "I64": 8, "F64": 8}


def product(shape):
    result = 1
    for dimension in shape:
        result *= dimension
    return result


def read(path):
    """{name: (dtype, shape, bytes)}, metadata; asserts all that the format demands."""
    with open(path, "rb") as file:
        content = file.read()
    (length,) = struct.unpack_from("<Q", content)
    header = content[8 : 8 + length]
    assert header[:1] == b"{" and length % 8 == 0
    fields = json.loads(header.decode("utf-8"))
    metadata = fields.pop("__metadata__")
    assert all(isinstance(value, str) for value in metadata.values())
    data = content[8 + length :]
    tensors, end = {}, 0
    for name, field in sorted(fields.items(), key=lambda item: item[1]["data_offsets"]):
        assert set(field) == {"dtype", "shape", "data_offsets"}
        begin, after = field["data_offsets"]
        size = SIZES[field["dtype"]]
        assert begin == end and after - begin == size * product(field["shape"]), name
        assert begin % size == 0, name + " is not aligned"
        tensors[name] = (field["dtype"], field["shape"], data[begin:after])
        end = after
    assert end == len(data)
    return tensors, metadata


def float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def quantize(program, source, target, *flags):
    subprocess.run([program, source, target, *flags], check=True, stdout=subprocess.DEVNULL)


def check_format(program, checkpoint, folder):
    codes_path = os.path.join(folder, "codes.safetensors")
    float_path = os.path.join(folder, "float.safetensors")
    quantize(program, checkpoint, codes_path)
    quantize(program, checkpoint, float_path, "--dequantize")
    codes, metadata = read(codes_path)
    floats, _ = read(float_path)
    names = json.loads(metadata["squant.tensors"])
    assert names
    for name in names:
        dtype, shape, raw = codes[name + ".codes"]
        assert dtype == "I8" and floats[name][0] == "F32" and floats[name][1] == shape
        scale = array.array("f", codes[name + ".scale"][2])
        zero_point = array.array("f", codes[name + ".zero_point"][2])
        restored = array.array("f", floats[name][2])
        row = len(restored) // len(scale)
        for i, code in enumerate(array.array("b", raw)):
            # A double quotient of floats, rounded to float32, is the float32 quotient.
            expected = float32(float32(code + zero_point[i // row]) / scale[i // row])
            assert restored[i] == expected, (name, i)
    unchanged = {name: value for name, value in floats.items() if name not in names}
    assert unchanged == {name: codes[name] for name in unchanged} and unchanged
    try:
        from safetensors.numpy import load_file
    except ImportError:
        print("the package safetensors is not here: read by hand alone")
        return
    for path, tensors in ((codes_path, codes), (float_path, floats)):
        loaded = load_file(path)
        assert loaded.keys() == tensors.keys()
        for name, (_, shape, raw) in tensors.items():
            assert list(loaded[name].shape) == shape and loaded[name].tobytes() == raw, name
    print("the package safetensors reads the same")


def load_dequantized(path):
    """A state dict, with no more than torch and the standard library."""
    import torch

    types = {"F32": torch.float32, "F16": torch.float16, "I64": torch.int64}
    tensors, _ = read(path)
    return {
        name: torch.frombuffer(bytearray(raw), dtype=types[dtype]).reshape(shape)
        for name, (dtype, shape, raw) in tensors.items()
    }


def check_torch(program, folder):
    try:
        import torch
    except ImportError as error:
        print(error)
        sys.exit(77)

    def network():
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 10)
        )

    torch.manual_seed(0)
    source = network()
    images = torch.rand(4, 3, 8, 8)
    source(images)  # batch norm has statistics now
    source.eval()
    checkpoint = os.path.join(folder, "net.pth")
    quantized = os.path.join(folder, "net.safetensors")
    torch.save(source.state_dict(), checkpoint)
    for old_format in (False, True):
        torch.save(source.state_dict(), checkpoint, _use_new_zipfile_serialization=not old_format)
        quantize(program, checkpoint, quantized, "--dequantize", "--bits", "8")
        loaded = network()
        try:
            from safetensors.torch import load_file

            state = load_file(quantized)
        except ImportError:
            state = load_dequantized(quantized)
        loaded.load_state_dict(state, strict=True)
        loaded.eval()
        for name, tensor in source.state_dict().items():
            same = torch.equal(loaded.state_dict()[name], tensor)
            assert same == (name not in ("0.weight", "3.weight")), name
        with torch.no_grad():
            difference = (loaded(images) - source(images)).abs().max().item()
        assert 0 < difference < 0.05, difference
    print("torch", torch.__version__, "loads it; logits differ by", difference)


if __name__ == "__main__":
    mode, program_path, checkpoint_path, scratch = sys.argv[1:]
    if mode == "format":
        check_format(program_path, checkpoint_path, scratch)
    else:
        check_torch(program_path, scratch)
