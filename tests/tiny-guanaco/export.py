"""Writes the checkpoint of a training run as a Hugging Face LlamaForCausalLM in fp16.

    python export.py RUN_DIR MODEL_DIR
"""
import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from train import CONFIG as C

NAMES = {"norm1": "input_layernorm.weight", "norm2": "post_attention_layernorm.weight",
         **{f"{n}.weight": f"self_attn.{n}_proj.weight" for n in "qkvo"},
         **{f"{n}.weight": f"mlp.{n}_proj.weight" for n in ("gate", "up", "down")}}


def hf_name(name):
    if name.startswith("layers."):
        _, n, rest = name.split(".", 2)
        return f"model.layers.{n}.{NAMES[rest]}"
    return {"embed.weight": "model.embed_tokens.weight", "norm": "model.norm.weight"}[name]


def main(run, out):
    out.mkdir(parents=True, exist_ok=True)
    state = torch.load(run / "checkpoint.pt")
    tensors = {hf_name(k): v.half().contiguous() for k, v in state["model"].items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    shutil.copy(run / "tokenizer.json", out / "tokenizer.json")

    def write(name, data):
        (out / name).write_text(json.dumps(data, indent=2) + "\n")

    write("config.json", dict(
        architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=C["vocab"], hidden_size=C["dim"],
        intermediate_size=C["hidden"], num_hidden_layers=C["layers"], num_attention_heads=C["heads"],
        num_key_value_heads=C["heads"], head_dim=C["dim"] // C["heads"], hidden_act="silu", max_position_embeddings=C["context"],
        rms_norm_eps=C["eps"], rope_theta=C["theta"], attention_bias=False, mlp_bias=False, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2, initializer_range=0.02, use_cache=True, torch_dtype="float16"))
    write("generation_config.json", dict(bos_token_id=1, eos_token_id=2, do_sample=False, max_new_tokens=128))
    write("tokenizer_config.json", dict(
        tokenizer_class="PreTrainedTokenizerFast", bos_token="<s>", eos_token="</s>", unk_token="<unk>", add_bos_token=True,
        add_eos_token=False, clean_up_tokenization_spaces=False, model_max_length=C["context"]))
    print(f"step {state['step']}, {state['tokens'] / 1e6:.1f} M tokens, {state['seconds'] / 60:.0f} min; "
          f"{sum(t.numel() for t in tensors.values())} parameters")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
