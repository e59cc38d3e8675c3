#!/usr/bin/env python3
"""Writes the weights of a LLaMA checkpoint (a folder with config.json and safetensors in fp16) as DIR/model-TYPE.gguf.

    python to_gguf.py DIR [f16|q8_0|q4_0]

Matrices stay fp16 bit by bit, or are rounded to blocks by the gguf package; norms become f32, as llama.cpp wants them. There is no
vocabulary in the file, so only ids can go in and out. Needs numpy and gguf.
"""
import json
import sys
from pathlib import Path

import gguf
import numpy as np

LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}

FILE_TYPES = {
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
}


def gguf_name(name):
    stem = name.removesuffix(".weight")
    if stem in OUTSIDE:
        return OUTSIDE[stem] + ".weight"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{LAYER[rest]}.weight"


def tensors(folder):
    """(name, array mapped from its file), in the order of the files."""
    for path in sorted(folder.glob("*.safetensors")):
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
        header.pop("__metadata__", None)
        for name, info in header.items():
            if info["dtype"] != "F16":
                sys.exit(f"{path}: {name} is {info['dtype']}, expected F16: both engines shall read the same bits")
            begin = 8 + size + info["data_offsets"][0]
            yield name, np.memmap(path, np.float16, "r", begin, tuple(info["shape"]))


def interleave(weights, heads):
    """Hugging Face rotates halves of a head (i, i + d/2), GGUF's llama rotates pairs (2i, 2i + 1)."""
    rows, cols = weights.shape
    return weights.reshape(heads, 2, rows // heads // 2, cols).swapaxes(1, 2).reshape(rows, cols)


def main():
    kind = sys.argv[2] if len(sys.argv) == 3 else "f16"
    if len(sys.argv) not in (2, 3) or kind not in FILE_TYPES:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    blocks = None if kind == "f16" else getattr(gguf.GGMLQuantizationType, kind.upper())
    config = json.loads((folder / "config.json").read_text())
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads", heads)
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    out = folder / f"model-{kind}.gguf"

    writer = gguf.GGUFWriter(out, "llama")
    writer.add_name(folder.name)
    writer.add_context_length(config.get("max_position_embeddings", 2048))
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config.get("rope_theta", 10000.0))
    writer.add_rope_dimension_count(head_dim)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(FILE_TYPES[kind])
    writer.add_tokenizer_model("no_vocab")

    for name, weights in tensors(folder):
        if weights.ndim == 2 and blocks is not None:
            shape = gguf.quant_shape_to_byte_shape(weights.shape, blocks)
            writer.add_tensor_info(gguf_name(name), shape, np.dtype(np.uint8), int(np.prod(shape)), blocks)
            continue
        dtype = np.dtype(np.float16 if weights.ndim == 2 else np.float32)
        writer.add_tensor_info(gguf_name(name), weights.shape, dtype, weights.size * dtype.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, weights in tensors(folder):
        if ".q_proj." in name or ".k_proj." in name:
            weights = interleave(weights, heads if ".q_proj." in name else kv_heads)
        if weights.ndim == 2 and blocks is not None:
            writer.write_tensor_data(gguf.quants.quantize(weights.astype(np.float32), blocks))
        else:
            writer.write_tensor_data(np.ascontiguousarray(weights) if weights.ndim == 2 else weights.astype(np.float32))
    writer.close()
    print(out)


if __name__ == "__main__":
    main()
