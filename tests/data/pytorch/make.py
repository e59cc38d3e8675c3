#!/usr/bin/env python3
"""Writes the PyTorch files beside it: good ones with the tensors that they hold, and broken or hostile ones.

It needs nothing but Python: what `torch.save` writes is a pickle that names a few of torch's functions and classes, and
stand-ins with the same names give the same bytes (https://github.com/pytorch/pytorch/blob/main/torch/serialization.py).

    python3 tests/data/pytorch/make.py

good/NAME.bin           with good/NAME.expected.safetensors: the same tensors, laid out row after row
broken/NAME.bin         with broken.json: the words that the error must have
llama/                  a small LLaMA in two shards with an index, and its twin in safetensors
"""

import collections
import io
import json
import pathlib
import pickle
import shutil
import struct
import sys
import types
import zipfile
import zlib

HERE = pathlib.Path(__file__).resolve().parent
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001

# Name of the storage class: name in safetensors, bytes of an element, how struct packs it.
STORAGES = {
    "FloatStorage": ("F32", 4, "f"),
    "HalfStorage": ("F16", 2, "e"),
    "BFloat16Storage": ("BF16", 2, None),
    "DoubleStorage": ("F64", 8, "d"),
    "LongStorage": ("I64", 8, "q"),
    "IntStorage": ("I32", 4, "i"),
    "ShortStorage": ("I16", 2, "h"),
    "CharStorage": ("I8", 1, "b"),
    "ByteStorage": ("U8", 1, "B"),
    "BoolStorage": ("BOOL", 1, "?"),
    "QInt8Storage": (None, 1, "b"),
}

torch = types.ModuleType("torch")
utils = types.ModuleType("torch._utils")
sys.modules["torch"], sys.modules["torch._utils"] = torch, utils
for name in STORAGES:
    setattr(torch, name, type(name, (), {"__module__": "torch", "__qualname__": name}))
for name in ["_rebuild_tensor_v2", "_rebuild_parameter"]:
    function = types.FunctionType((lambda *arguments: None).__code__, {"__name__": "torch._utils"}, name)
    function.__module__, function.__qualname__ = "torch._utils", name
    setattr(utils, name, function)


class Storage:
    def __init__(self, kind, values, claims=None):
        self.kind, self.values, self.claims = kind, values, len(values) if claims is None else claims

    def bytes(self):
        letter = STORAGES[self.kind][2]
        if letter is None:
            return b"".join(struct.pack("<f", value)[2:] for value in self.values)
        return struct.pack(f"<{len(self.values)}{letter}", *self.values)


class Tensor:
    def __init__(self, storage, shape, strides=None, offset=0, parameter=False):
        self.storage, self.shape, self.offset, self.parameter = storage, tuple(shape), offset, parameter
        self.strides = row_strides(shape) if strides is None else tuple(strides)

    def __reduce__(self):
        if self.parameter:
            plain = Tensor(self.storage, self.shape, self.strides, self.offset)
            return utils._rebuild_parameter, (plain, True, collections.OrderedDict())
        fields = (self.storage, self.offset, self.shape, self.strides, False, collections.OrderedDict())
        return utils._rebuild_tensor_v2, fields

    def dense(self):
        """Its bytes, row after row."""
        size, stored = STORAGES[self.storage.kind][1], self.storage.bytes()
        places = [self.offset]
        for extent, stride in zip(self.shape, self.strides):
            places = [place + index * stride for place in places for index in range(extent)]
        return b"".join(stored[place * size:(place + 1) * size] for place in places)


class StateDict(collections.OrderedDict):
    """An OrderedDict with an attribute, which `Module.state_dict` gives: the pickle ends in BUILD."""

    def __reduce__(self):
        metadata = collections.OrderedDict([("", {"version": 1})])
        return collections.OrderedDict, (), {"_metadata": metadata}, None, iter(self.items())


class Raw:
    """Calls what it is told to, when Python reads it."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def row_strides(shape):
    strides, step = [], 1
    for extent in reversed(shape):
        strides.insert(0, step)
        step *= extent
    return tuple(strides)


def pickled(value, protocol, legacy):
    """The pickle, and the storages by key."""
    keys, out = {}, io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, found):
            if not isinstance(found, Storage):
                return None
            key = keys.setdefault(found, str(94333776000000 + len(keys)) if legacy else str(len(keys)))
            identity = ("storage", getattr(torch, found.kind), key, "cpu", found.claims)
            return (*identity, None) if legacy else identity

    Pickler(out, protocol).dump(value)
    return out.getvalue(), {key: storage for storage, key in keys.items()}


def zipped(value, protocol=2, deflate=False, change=lambda files: files):
    data, storages = pickled(value, protocol, False)
    files = {"archive/data.pkl": data, "archive/byteorder": b"little"}
    files.update({f"archive/data/{key}": storage.bytes() for key, storage in storages.items()})
    files["archive/version"] = b"3\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as archive:
        for name, data in change(files).items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = archive.compression
            archive.writestr(entry, data, compresslevel=9)
    return out.getvalue()


def legacy(value, protocol=2, little=True):
    data, storages = pickled(value, protocol, True)
    sizes = {"short": 2, "int": 4, "long": 4}
    system = {"protocol_version": PROTOCOL_VERSION, "little_endian": little, "type_sizes": sizes}
    out = [pickle.dumps(part, protocol) for part in (MAGIC, PROTOCOL_VERSION, system)]
    keys = sorted(storages)
    out += [data, pickle.dumps(keys, protocol)]
    out += [struct.pack("<q", len(storages[key].values)) + storages[key].bytes() for key in keys]
    return b"".join(out)


def safetensors(tensors):
    header, data = {}, b""
    for name, tensor in tensors.items():
        dense = tensor.dense()
        dtype = STORAGES[tensor.storage.kind][0]
        header[name] = {"dtype": dtype, "shape": tensor.shape, "data_offsets": [len(data), len(data) + len(dense)]}
        data += dense
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def numbers(count, start=0):
    return [((index * 37 + start) % 101 - 50) / 64 for index in range(count)]


def floats(count, start=0, kind="FloatStorage"):
    return Storage(kind, numbers(count, start))


def good():
    plain = {"a.weight": Tensor(floats(15), (3, 5)), "b.weight": Tensor(floats(7, 1), (7,), parameter=True)}
    halves = {name: Tensor(floats(12, 2, kind), (4, 3)) for name, kind in
              [("half", "HalfStorage"), ("bfloat16", "BFloat16Storage")]}
    others = {kind: Tensor(Storage(kind, [1, 0, 1, 1, 0, 1]), (2, 3)) for kind in
              ["DoubleStorage", "LongStorage", "IntStorage", "ShortStorage", "CharStorage", "ByteStorage", "BoolStorage"]}
    shared, square = floats(40, 3, "HalfStorage"), floats(24, 4)
    views = {
        "whole": Tensor(shared, (5, 8)),
        "rows": Tensor(shared, (2, 8), offset=16),
        "column": Tensor(shared, (5,), (8,), 3),
        "columns": Tensor(shared, (5, 3), (8, 1), 5),
        "transposed": Tensor(square, (6, 4), (1, 6)),
        "expanded": Tensor(square, (3, 4), (0, 1), 20),
        "permuted": Tensor(square, (2, 3, 4), (1, 8, 2)),
        "one_row": Tensor(square, (1, 6), (999, 1), 6),
        "scalar": Tensor(square, (), offset=23),
        "empty": Tensor(floats(0), (0, 4)),
        "empty_view": Tensor(square, (3, 0)),
    }
    sparse = {"zeros": Tensor(Storage("HalfStorage", [0] * 1000), (10, 100)), "not_zeros": Tensor(floats(100), (10, 10))}
    sparse["part"] = Tensor(sparse["not_zeros"].storage, (4, 10), offset=30)
    unicode = {"größe.重み": plain["a.weight"], "k" * 300: plain["b.weight"]}
    nested = {"epoch": 3, "loss": 0.5, "note": b"bytes", "args": [None, ("x", True), -7, 1 << 70], "state_dict": plain}
    slip = lambda files: {**files, "../../PWNED": b"x", "archive/../PWNED": b"x"}
    return {
        "fp32": (zipped(collections.OrderedDict(plain)), plain),
        "half": (zipped(halves), halves),
        "dtypes": (zipped(others), others),
        "state_dict": (zipped(StateDict(plain)), plain),
        "views": (zipped(views), views),
        "views_deflated": (zipped(views, deflate=True), views),
        "deflated": (zipped(sparse, deflate=True), sparse),
        "protocol3": (zipped(plain, 3), plain),
        "protocol4": (zipped(unicode, 4), unicode),
        "protocol5_nested": (zipped(nested, 5), plain),
        "many": (zipped(many := {f"t{index}": Tensor(shared, (2,), offset=index % 38) for index in range(60)}), many),
        "legacy": (legacy(StateDict(plain | halves)), plain | halves),
        "legacy_views": (legacy(views), views),
        "legacy_protocol4": (legacy(unicode, 4), unicode),
        "zip_slip": (zipped(plain, change=slip), plain),
    }


def patched(data, places):
    """`data` with a number of 32 bits written at each place."""
    data = bytearray(data)
    for place, value in places:
        data[place:place + 4] = struct.pack("<I", value)
    return bytes(data)


def entry(data, name):
    """Where the central header and the local header of an entry begin."""
    central = data.index(name.encode(), data.index(b"PK\x01\x02")) - 46
    return central, struct.unpack_from("<I", data, central + 42)[0]


def broken():
    import os

    attack = Raw(os.system, "touch PWNED")
    weight = Tensor(floats(12, 0, "HalfStorage"), (3, 4))
    one = lambda *arguments, **options: {"first": weight, "w.weight": Tensor(*arguments, **options)}
    storage = floats(12, 5)
    replace = lambda name, data: lambda files: {**files, name: data}
    without = lambda name: lambda files: {key: data for key, data in files.items() if key != name}
    pickle_of = lambda data: zipped({"w": weight}, deflate=True, change=replace("archive/data.pkl", data))
    bomb = zipped(one(storage, (3, 4)), deflate=True, change=replace("archive/data/1", bytes(1 << 20)))
    fragment = Storage("HalfStorage", [0] * (1 << 19))
    deflated = zipped({"w.weight": Tensor(floats(500), (50, 10))}, deflate=True)
    central, local = entry(deflated, "archive/data/0")
    crc, = struct.unpack_from("<I", deflated, central + 16)
    # The storage says as much as the zip, so that only inflating can tell.
    lies = zipped({"w.weight": Tensor(Storage("FloatStorage", numbers(500), 400), (40, 10))}, deflate=True)
    lie, local_lie = entry(lies, "archive/data/0")
    lies = patched(lies, [(lie + 24, 1600), (local_lie + 22, 1600)])
    plain = zipped({"w.weight": weight})
    old = legacy({"w.weight": weight})
    same = pickled({"a": weight, "b": weight}, 2, False)[0].replace(b"X\x01\0\0\0b", b"X\x01\0\0\0a")
    system = "system`"
    return {
        "os_system": (zipped(attack), [system]),
        "os_system_protocol4": (zipped({"w": weight, "x": attack}, 4), [system]),
        "os_system_deflated": (zipped({"w": weight, "x": attack}, deflate=True), [system]),
        "os_system_legacy": (legacy({"w": weight, "x": attack}), [system]),
        "os_system_first": (pickle.dumps(attack, 2) + old, [system]),
        "eval_in_metadata": (zipped({"w": Raw(eval, "open('PWNED', 'w')"), "v": weight}), [".eval`"]),
        "not_torch": (zipped({"w": weight, "x": collections.Counter()}), ["collections.Counter`"]),
        "bare_pickle": (pickle.dumps({"w": 1}, 2), ["magic number"]),
        "text": (b"not a checkpoint", ["neither a zip"]),
        "not_a_dict": (zipped([weight]), ["not a dictionary"]),
        "no_tensors": (zipped({"model": {"a": 1}, "b": None}), ["no tensors", "state_dict"]),
        "number_as_name": (zipped({7: weight}), ["name is no string"]),
        "long_name": (zipped({"x" * 600: weight}), ["600 bytes"]),
        "same_name": (pickle_of(same), ['"a"', "twice"]),
        "self_reference": (pickle_of(b"\x80\x02}q\x00X\x01\0\0\0ah\x00sX\x05\0\0\0modelh\x00s."), ["no tensors"]),
        "deep": (pickle_of(b"\x80\x02)" + b"\x85" * 900000 + b"."), ["not a dictionary"]),
        "deep_tensor": (pickle_of(b"\x80\x02}X\x01\0\0\0ac" + b"torch._utils\n_rebuild_parameter\n)R" + b"\x85" * 9 + b"s."),
                        ["no tensors"]),
        "no_arguments": (pickle_of(b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n)Rs."), ['"a"', "not known"]),
        "big_endian": (zipped({"w": weight}, change=replace("archive/byteorder", b"big")), ["byteorder", "big"]),
        "big_endian_legacy": (legacy({"w": weight}, little=False), ["big-endian"]),
        "no_pickle": (zipped({"w": weight}, change=without("archive/data.pkl")), ["data.pkl"]),
        "two_pickles": (zipped({"w": weight}, change=replace("other/data.pkl", b"")), ["data.pkl"]),
        "storage_missing": (zipped(one(storage, (3, 4)), change=without("archive/data/1")), ["w.weight", '"1"']),
        "storage_short": (zipped(one(storage, (3, 4)), change=replace("archive/data/1", bytes(40))),
                          ["w.weight", "12 elements", "40 bytes"]),
        "quantised": (zipped(one(Storage("QInt8Storage", [1] * 4), (4,))), ["w.weight", "QInt8Storage"]),
        "beyond": (zipped(one(storage, (3, 4), offset=1)), ["w.weight", "leads out"]),
        "beyond_by_stride": (zipped(one(storage, (3, 4), (5, 1))), ["w.weight", "leads out"]),
        "beyond_by_overflow": (zipped(one(storage, (3, 4), (1 << 62, 1 << 62))), ["w.weight", "leads out"]),
        "beyond_legacy": (legacy(one(storage, (3, 4), offset=1)), ["w.weight", "leads out"]),
        "negative_offset": (zipped(one(storage, (3, 4), offset=-4)), ["w.weight", "storage_offset is -4"]),
        "negative_stride": (zipped(one(storage, (3, 4), (4, -1), 3)), ["w.weight", "stride is -1"]),
        "negative_extent": (zipped(one(storage, (-3, 4), (4, 1))), ["w.weight", "extent is -3"]),
        "huge_extent": (zipped(one(storage, (1 << 40, 1 << 40), (0, 0))), ["w.weight", "more elements"]),
        "huge_repeat": (zipped(one(storage, (1 << 21,), (0,))), ["w.weight", "more elements"]),
        "strides_missing": (zipped(one(storage, (3, 4), (4,))), ["w.weight", "2 dimensions and 1 strides"]),
        "many_dimensions": (zipped(one(storage, (1,) * 9)), ["w.weight", "9 extents"]),
        "bomb": (bomb, ["w.weight", "1048576 bytes"]),
        "bomb_for_a_fragment": (zipped(one(fragment, (3, 4)), deflate=True), ["w.weight", "1048576 bytes"]),
        "inflates_to_more": (lies, ["w.weight", "more than the 1600 bytes"]),
        "other_checksum": (patched(deflated, [(central + 16, crc ^ 1)]), ["w.weight", "checksum"]),
        "cut": (plain[:-30], ["no table of contents"]),
        "cut_legacy": (old[:-3], ["cut"]),
        "longer_legacy": (old + b"x", ["1 bytes follow"]),
    }


def llama():
    dim, hidden, vocab = 16, 24, 40
    layer = {"self_attn.q_proj": (dim, dim), "self_attn.k_proj": (8, dim), "self_attn.v_proj": (8, dim),
             "self_attn.o_proj": (dim, dim), "mlp.gate_proj": (hidden, dim), "mlp.up_proj": (hidden, dim),
             "mlp.down_proj": (dim, hidden), "input_layernorm": (dim,), "post_attention_layernorm": (dim,)}
    shapes = {"model.embed_tokens.weight": (vocab, dim)}
    shapes |= {f"model.layers.0.{name}.weight": shape for name, shape in layer.items()}
    shapes |= {"model.norm.weight": (dim,), "lm_head.weight": (vocab, dim)}
    tensors = {}
    for index, (name, shape) in enumerate(shapes.items()):
        storage = floats(shape[0] * (shape[1] if len(shape) > 1 else 1), index, "HalfStorage")
        # Every other matrix is kept transposed, as a view.
        turned = len(shape) == 2 and index % 2 == 1
        tensors[name] = Tensor(storage, shape, (1, shape[0]) if turned else None)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": dim, "intermediate_size": hidden,
              "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": vocab,
              "rms_norm_eps": 1e-06, "max_position_embeddings": 64, "torch_dtype": "float16"}
    names = list(tensors)
    shards = {"pytorch_model-00001-of-00002.bin": names[:6], "pytorch_model-00002-of-00002.bin": names[6:]}
    weight_map = {name: shard for shard, names in shards.items() for name in names}
    files = {shard: zipped({name: tensors[name] for name in names}) for shard, names in shards.items()}
    files["config.json"] = json.dumps(config, indent=1).encode() + b"\n"
    files["pytorch_model.bin.index.json"] = json.dumps({"weight_map": weight_map}, indent=1).encode() + b"\n"
    files["expected.safetensors"] = safetensors(tensors)
    return files


def main():
    for folder in ["good", "broken", "llama"]:
        shutil.rmtree(HERE / folder, ignore_errors=True)
        (HERE / folder).mkdir()
    for name, (data, tensors) in good().items():
        (HERE / "good" / f"{name}.bin").write_bytes(data)
        (HERE / "good" / f"{name}.expected.safetensors").write_bytes(safetensors(tensors))
    words = {}
    for name, (data, mention) in broken().items():
        (HERE / "broken" / f"{name}.bin").write_bytes(data)
        words[name] = mention
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(mention)}" for name, mention in words.items())
    (HERE / "broken.json").write_text(f"{{\n{lines}\n}}\n")
    for name, data in llama().items():
        (HERE / "llama" / name).write_bytes(data)
    size = sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file())
    print(f"{size} bytes in all")


if __name__ == "__main__":
    main()
