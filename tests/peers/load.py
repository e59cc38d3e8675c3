#!/usr/bin/env python3
"""Times how long a peer takes to load a checkpoint, and the most anonymous memory it has meanwhile (Linux).

    python load.py transformers DIR      as float16, on the CPU
    python load.py llama.cpp FILE.gguf   llama-cpp-python, on the CPU, without its memory map

Prints one JSON line. Run it in a process of its own for each checkpoint.
"""
import json
import sys
import threading
import time


def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    kind, path = sys.argv[1:]
    if kind == "transformers":
        import torch
        from transformers import LlamaForCausalLM

        def load():
            return LlamaForCausalLM.from_pretrained(path, dtype=torch.float16)
    else:
        from llama_cpp import Llama

        def load():
            return Llama(path, n_ctx=512, n_gpu_layers=0, use_mmap=False, verbose=False)

    idle, peak, done = anonymous(), 0, threading.Event()

    def sample():
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, anonymous())

    sampler = threading.Thread(target=sample)
    sampler.start()
    start = time.time()
    model = load()
    seconds = time.time() - start
    done.set()
    sampler.join()
    print(json.dumps({"peer": kind, "path": path, "seconds": round(seconds, 1), "peak_mib": peak >> 20, "idle_mib": idle >> 20}))
    del model


if __name__ == "__main__":
    main()
