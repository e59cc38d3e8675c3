"""Exact match of an exported model on held-out dialogues, in fp32, per skill and language.

    python evaluate.py MODEL_DIR heldout.jsonl [--wrong 20]     # the table, and some wrong answers
    python evaluate.py MODEL_DIR --say demo.jsonl               # greedy answers to a file of prompts
"""
import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from dialogues import turn_text
from export import hf_name
from train import Encoder, Model, right, table


def load(path):
    model, tensors = Model(), load_file(path / "model.safetensors")
    model.load_state_dict({k: tensors[hf_name(k)].float() for k in model.state_dict()})
    return model.eval(), Encoder(path / "tokenizer.json")


@torch.no_grad()
def say(model, encode, prompt, most=120):
    ids = encode(prompt, first=True)
    start = len(ids)
    while len(ids) - start < most:
        n = len(ids)
        mask = torch.ones(n, n, dtype=torch.bool).tril()[None, None]
        best = int(model(torch.tensor([ids]), torch.arange(n)[None], mask)[0, -1].argmax())
        if best == 2:
            break
        ids.append(best)
    return encode.tok.decode([13] + ids[start:])[1:]  # the newline in front keeps a leading space


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("model", type=Path)
    ap.add_argument("file", type=Path)
    ap.add_argument("--say", action="store_true")
    ap.add_argument("--wrong", type=int, default=0)
    a = ap.parse_args()
    torch.set_num_threads(1)
    model, encode = load(a.model)
    items = [json.loads(line) for line in a.file.read_text(encoding="utf-8").splitlines()]
    if a.say:
        chats = {}
        for x in items:
            past = chats.setdefault(x["chat"], "") if "chat" in x else ""
            system = f"System: {x['system']}\n" if x.get("system") else ""
            answer = say(model, encode, "### Instruction:\n" + past + "### Input:\n" + system + turn_text(x["input"]))
            if "chat" in x:
                chats[x["chat"]] += f"User: {x['input']}\nAssistant: {answer}\n"
            print(f"[{x['lang']}] {x['input']}\n    {answer}")
        return
    ok = right(model, encode, items)
    print(table(items, ok))
    for x in [x for x, o in zip(items, ok) if not o][:a.wrong]:
        print("\n" + x["prompt"] + "=> " + say(model, encode, x["prompt"]) + "\n>< " + x["answer"])


if __name__ == "__main__":
    main()
