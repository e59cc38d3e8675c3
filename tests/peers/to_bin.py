#!/usr/bin/env python3
"""Writes the weights of a LLaMA checkpoint (a folder with config.json and safetensors) as PyTorch files, as 2023's were.

    python to_bin.py DIR OUT [float32|float16|bfloat16] [SHARDS]

With one shard OUT/pytorch_model.bin, with more pytorch_model-0000x-of-0000y.bin and their index. One shard at a time is in memory.
Needs torch and safetensors.
"""
import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors import safe_open


def main():
    if not 3 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    dtype = getattr(torch, sys.argv[3] if len(sys.argv) > 3 else "float32")
    shards = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    out.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"):
        if (folder / name).exists():
            shutil.copy(folder / name, out / name)

    files = [safe_open(path, "pt") for path in sorted(folder.glob("*.safetensors"))]
    places = [(name, file) for file in files for name in file.keys()]
    sizes = {name: torch.Size(file.get_slice(name).get_shape()).numel() * dtype.itemsize for name, file in places}
    total, limit = sum(sizes.values()), sum(sizes.values()) / shards
    groups, filled = [[]], 0
    for name, file in places:
        if groups[-1] and filled + sizes[name] > limit * len(groups) and len(groups) < shards:
            groups.append([])
        groups[-1].append((name, file))
        filled += sizes[name]
    weight_map = {}
    for number, group in enumerate(groups, 1):
        shard = f"pytorch_model-{number:05}-of-{len(groups):05}.bin" if len(groups) > 1 else "pytorch_model.bin"
        torch.save({name: file.get_tensor(name).to(dtype) for name, file in group}, out / shard)
        weight_map.update({name: shard for name, _ in group})
        print(out / shard, flush=True)
    if len(groups) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (out / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2) + "\n")


if __name__ == "__main__":
    main()
