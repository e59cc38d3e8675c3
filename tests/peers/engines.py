"""The engines: what each needs, and the command of each test.

Every test is a cold process that prints one line of JSON. The peers' workers share one command line,

    WORKER KIND MODEL CONTEXT P N RUNS THREADS LIMIT GREEDY ID,ID,...

RUNS times, each from an empty cache: a prompt of P tokens, then N tokens decoded behind it, greedily; a short run before them does
not count. Then GREEDY tokens after the given ids. A prompt that would take longer than LIMIT seconds, by the short run's rate, is
shortened, and decoding ends at that time, too. The exit status is 3 where the device is missing. The line has load_s, prefill and decode (tok/s, run by run), prefill_tokens and
decode_tokens (what was really run), device, and greedy (ids).
"""
from pathlib import Path

from process import Failed, Missing, cold

# The prompt of the greedy tokens and of the first token.
PROMPT = [1, 338, 263, 931, 727, 278, 310, 304]


def need(path, how):
    if not path.exists():
        raise Missing(f"{path} is missing: {how}")
    return path


class Guanaco:
    """This engine, through its command. A decode step reads 2 bytes a weight."""
    weight_bytes = 2

    def __init__(self, kind):
        pass

    def command(self, model, a):
        need(a.guanaco, "cargo build --release --workspace")
        return [a.guanaco, "--model", model, "--context", a.context, *(["--adapter", a.adapter] if a.adapter else [])]

    def measure(self, model, p, n, a, limit, run):
        out, facts = run([*self.command(model, a), "bench", "-p", p, "-n", n, "-r", a.runs, "--json"])
        decode = (out["decode_tok_per_s"] or {"runs": []})["runs"]
        return {"prefill": out["prefill_tok_per_s"]["runs"], "decode": decode, "prefill_tokens": p, "decode_tokens": n,
                "load_s": out["load_s"], "device": out["adapter"]["name"], "driver": out["adapter"]["driver"],
                "copy_bytes_per_s": out["copy_bytes_per_s"]} | facts

    def greedy(self, model, n, a, limit, run):
        ids = ",".join(map(str, PROMPT))
        out, facts = run([*self.command(model, a), "generate", "--ids", ids, "--greedy", "--ignore-eos",
                          "--max-new-tokens", n, "--json"])
        return {"greedy": out["ids"]} | facts


class Worker:
    """A peer, through its worker: `worker(model, a)` gives the command up to CONTEXT."""

    def __init__(self, kind):
        self.kind = kind

    def line(self, model, p, n, runs, greedy, a, limit):
        ids = ",".join(map(str, PROMPT))
        return [*self.worker(model, a), a.context, p, n, runs, a.threads, limit, greedy, ids]

    def measure(self, model, p, n, a, limit, run):
        out, facts = run(self.line(model, p, n, a.runs, 0, a, limit))
        return out | facts

    def greedy(self, model, n, a, limit, run):
        out, facts = run(self.line(model, 0, 0, 0, n, a, limit))
        return out | facts


class Llama(Worker):
    """llama.cpp. A decode step reads 2 bytes a weight."""
    weight_bytes = 2

    def worker(self, model, a):
        program = need(a.peers / "llama-worker", f"tests/peers/setup {a.peers} llama")
        return [program, self.kind, need(model / "model-f16.gguf", f"to_gguf.py {model}")]


class Candle(Worker):
    """candle on the CPU, in fp16."""
    weight_bytes = 2

    def worker(self, model, a):
        return [need(a.peers / "candle-worker", f"tests/peers/setup {a.peers} candle"), self.kind, model]


class Transformers(Worker):
    """transformers: `fp32` and `bf16` on the CPU, `cuda` for fp16 on the first CUDA device."""

    def __init__(self, kind):
        super().__init__(kind)
        self.weight_bytes = 4 if kind == "fp32" else 2

    def worker(self, model, a):
        python = need(a.peers / "venv/bin/python", f"tests/peers/setup {a.peers} transformers")
        need(a.peers / "venv/.transformers", f"tests/peers/setup {a.peers} transformers")
        return [python, Path(__file__).parent / "transformers_worker.py", self.kind, model]


ENGINES = {
    "guanaco": Guanaco("vulkan"),
    "llama-vulkan": Llama("vulkan"),
    "llama-cpu": Llama("cpu"),
    "transformers-fp32": Transformers("fp32"),
    "transformers-bf16": Transformers("bf16"),
    "transformers-cuda": Transformers("cuda"),
    "candle": Candle("f16"),
}


def take(name, test, model, a):
    """One sample of `test` (greedy, first, prefill or decode) of the engine `name`."""
    engine, limit = ENGINES[name], a.limits.get(name, a.limits[""])
    threads = str(a.threads)
    env = {"LP_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads,
           "GGML_VK_VISIBLE_DEVICES": a.vk_device, "HF_HUB_OFFLINE": "1"}
    run = lambda command: cold(command, env, a.log, a.timeout)
    if test == "greedy":
        return engine.greedy(model, a.greedy, a, limit, run)
    if test == "first":
        sample = engine.greedy(model, 1, a, limit, run)
        return sample | {"first_s": sample["answer_s"]}
    p, n = (a.prefill, 0) if test == "prefill" else (len(PROMPT), a.decode)
    sample = engine.measure(model, p, n, a, limit, run)
    if not sample[test]:
        raise Failed(f"{name} gave no figure for {test}")
    return sample
