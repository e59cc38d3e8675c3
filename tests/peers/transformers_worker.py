#!/usr/bin/env python3
"""One measurement by transformers; the command line is that of every worker (engines.py).

    transformers_worker.py fp32|bf16|cuda MODEL CONTEXT P N RUNS THREADS LIMIT GREEDY ID,ID,...

`cuda` computes in fp16 on the first CUDA device, the others on the CPU. The cache grows with the sequence, whatever CONTEXT says.
"""
import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM

WARM_UP = 64


def main():
    if len(sys.argv) != 11:
        sys.exit(__doc__)
    kind, folder = sys.argv[1:3]
    p, n, runs, threads = map(int, sys.argv[4:8])
    limit, n_greedy, ids = float(sys.argv[8]), int(sys.argv[9]), [int(text) for text in sys.argv[10].split(",")]
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "cuda": torch.float16}[kind]
    device = "cuda" if kind == "cuda" else "cpu"
    if kind == "cuda" and not torch.cuda.is_available():
        print("torch finds no CUDA device", file=sys.stderr)
        sys.exit(3)
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)

    start = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
    load = time.perf_counter() - start

    def step(tokens, cache=None):
        """The best next token behind `tokens`, and the cache; waits for the device, because the token is read back."""
        out = model(torch.tensor([tokens], device=device), past_key_values=cache, use_cache=True, logits_to_keep=1)
        return int(out.logits[0, -1].argmax()), out.past_key_values

    def timed(work):
        begin = time.perf_counter()
        return work(), time.perf_counter() - begin

    prompt = [(100 + 7 * i) % model.config.vocab_size for i in range(p)]
    prefill, decode, n_decoded = [], [], n
    if runs:
        short = prompt[:WARM_UP]
        # The first call pays for what later ones find ready: the estimate is of the second.
        token, cache = step(short)
        step([token], cache)
        took = timed(lambda: step(short))[1] / len(short)
        if took * p > limit:
            prompt = prompt[:max(WARM_UP, int(limit / took) // WARM_UP * WARM_UP)]
    for _ in range(runs):
        (token, cache), took = timed(lambda: step(prompt))
        prefill.append(len(prompt) / took)
        begin, steps = time.perf_counter(), 0
        while steps < n and (steps == 0 or time.perf_counter() - begin < limit):
            token, cache = step([token], cache)
            steps += 1
        if n:
            decode.append(steps / (time.perf_counter() - begin))
            n_decoded = min(n_decoded, steps)
    greedy, cache, begin = [], None, time.perf_counter()
    while len(greedy) < n_greedy and (not greedy or time.perf_counter() - begin < limit):
        token, cache = step(greedy[-1:] or ids, cache)
        greedy.append(token)
    name = torch.cuda.get_device_name() if kind == "cuda" else "CPU"
    print(json.dumps({"load_s": load, "prefill": prefill, "decode": decode, "prefill_tokens": len(prompt),
                      "decode_tokens": n_decoded, "device": name, "greedy": greedy,
                      "version": f"torch {torch.__version__}"}), flush=True)


if __name__ == "__main__":
    main()
