#!/usr/bin/env python3
"""Runs this engine and llama.cpp on the same weights, one after the other, and prints a Markdown table.

    python compare.py models/110M --worker ./llama-worker --rounds 3 --json samples.jsonl

The protocol:
- A sample is a cold process (the file cache is warm) that loads the model, makes one run that does not count, and then --runs
  counted ones from an empty cache: a prompt of P tokens, and N tokens decoded behind it, greedily.
- Two samples each: prefill (-p 512, none decoded) and decode (-p 8 -n 64). See --prefill and --decode.
- One round takes every sample of every engine once; rounds repeat (A B C A B C …), so that a machine that grows slower or
  faster does so for all. The table has the medians over all runs of all rounds, with the smallest and the largest.
- `other`: the cores that other processes kept busy during a sample. A sample above --max-other is thrown away and taken again;
  before each sample the script waits for a quiet machine. (Linux only; elsewhere it is left out.)
- `greedy`: how many of the first tokens after a fixed prompt agree with this engine's. Faster but different would be no win.

Engines: guanaco (`bench --json` and `generate --json`), llama-vulkan, llama-cpu (llama_worker.cpp). README.md says how to set
them up. Both get the same LP_NUM_THREADS, which is how many threads Mesa's software driver takes.
"""
import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ENGINES = ("guanaco", "llama-vulkan", "llama-cpu")
PROMPT = [1, 338, 263, 931, 727, 278, 310, 304]


def busy_seconds():
    """CPU seconds that the whole machine has spent outside idle and iowait; None where it does not tell."""
    try:
        fields = [int(field) for field in open("/proc/stat").readline().split()[1:9]]
    except OSError:
        return None
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def wait_quiet(a):
    end = time.time() + a.patience
    while busy_seconds() is not None and time.time() < end:
        before = busy_seconds()
        time.sleep(2)
        if (busy_seconds() - before) / 2 < a.max_other:
            return


def run(command, a):
    """The last line of the command's stdout as JSON, what it took, and what others took meanwhile."""
    env = dict(os.environ, LP_NUM_THREADS=str(a.threads), OMP_NUM_THREADS=str(a.threads),
               GGML_VK_VISIBLE_DEVICES=str(a.vk_device))
    wait_quiet(a)
    before, start = busy_seconds(), time.time()
    with open(a.log, "a") as log:
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=log, env=env, text=True)
        lines = process.stdout.read().strip().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.time() - start
    if process.returncode or not lines:
        sys.exit(f"failed with {process.returncode}, see {a.log}: {' '.join(map(str, command))}")
    own = usage.ru_utime + usage.ru_stime
    other = max(0.0, (busy_seconds() - before - own) / wall) if before is not None else None
    return json.loads(lines[-1]), {"wall_s": wall, "cores": own / wall, "other": other}


def guanaco(model, p, n, a):
    command = [a.guanaco, "--model", model, *(["--adapter", a.adapter] if a.adapter else [])]
    out, facts = run([*command, "bench", "-p", p, "-n", n, "-r", a.runs, "--json"], a)
    decode = (out["decode_tok_per_s"] or {"runs": []})["runs"]
    return {"prefill": out["prefill_tok_per_s"]["runs"], "decode": decode, "load_s": out["load_s"],
            "device": out["adapter"]["name"], "driver": out["adapter"]["driver"], "share": out["bandwidth_share"],
            "copy_bytes_per_s": out["copy_bytes_per_s"]} | facts


def llama(kind, model, p, n, a):
    command = [a.worker, kind, model / "model-f16.gguf", p, n, a.runs, a.threads, 0, "1"]
    out, facts = run(command, a)
    return out | facts


def greedy_ids(engine, model, a):
    ids = ",".join(map(str, PROMPT))
    if engine != "guanaco":
        kind = engine.removeprefix("llama-")
        return run([a.worker, kind, model / "model-f16.gguf", 8, 0, 1, a.threads, a.greedy, ids], a)[0]["greedy"]
    command = [a.guanaco, "--model", model, *(["--adapter", a.adapter] if a.adapter else [])]
    command += ["generate", "--ids", ids, "--greedy", "--ignore-eos", "--max-new-tokens", a.greedy, "--json"]
    return run(command, a)[0]["ids"]


def sample(engine, model, p, n, a):
    for _ in range(a.tries):
        took = guanaco(model, p, n, a) if engine == "guanaco" else llama(engine.removeprefix("llama-"), model, p, n, a)
        quiet = took["other"] is None or took["other"] <= a.max_other
        disturbed = "" if quiet else ", disturbed"
        print(f"{model.name} {engine} p{p} n{n}: {took['wall_s']:.0f} s{disturbed}", file=sys.stderr, flush=True)
        if quiet:
            return took
    return took | {"disturbed": True}


def spread(values):
    digits = lambda value: f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}"
    return f"{digits(median(values))} ({digits(min(values))}–{digits(max(values))})" if values else "-"


def table(samples, greedy, a):
    print(f"\n{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {a.threads} threads for each engine\n")
    print(f"| model | engine | device | samples | prefill {a.prefill} tok/s | decode {a.decode} tok/s | load s "
          "| other | greedy |")
    print("|---|---|---|--:|--:|--:|--:|--:|--:|")
    for model in a.models:
        medians = {}
        for engine in a.engines:
            mine = [s for s in samples if (s["model"], s["engine"]) == (model.name, engine)]
            if not mine:
                continue
            of = lambda what, test: [v for s in mine if s["test"] == test for v in s[what]]
            prefill, decode = of("prefill", "prefill"), of("decode", "decode")
            medians[engine] = (median(prefill), median(decode))
            same = greedy.get((model.name, engine)), greedy.get((model.name, a.engines[0]))
            agree = next((i for i, (x, y) in enumerate(zip(*same)) if x != y), a.greedy) if all(same) else None
            others = [s["other"] for s in mine if s["other"] is not None]
            print(f"| {model.name} | {engine} | {mine[0]['device']} | {len(mine)}{'*' * any('disturbed' in s for s in mine)} "
                  f"| {spread(prefill)} | {spread(decode)} | {median(s['load_s'] for s in mine):.2f} "
                  f"| {f'{max(others):.2f}' if others else '-'} "
                  f"| {'-' if agree is None else f'{agree}/{a.greedy}'} |")
        for engine in a.engines:
            if engine != "guanaco" and engine in medians and "guanaco" in medians:
                ratios = [mine / theirs for mine, theirs in zip(medians["guanaco"], medians[engine])]
                print(f"\n{model.name}: guanaco against {engine}: prefill × {ratios[0]:.2f}, decode × {ratios[1]:.2f}\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="+", type=Path, help="checkpoints beside whose weights to_gguf.py has written GGUF")
    p.add_argument("--guanaco", type=Path, default=Path("target/release/guanaco"))
    p.add_argument("--worker", type=Path, default=Path("llama-worker"))
    p.add_argument("--engines", type=lambda text: text.split(","), default=["guanaco", "llama-vulkan"],
                   help=f"of: {', '.join(ENGINES)}; greedy tokens are compared with the first one's")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--runs", type=int, default=1, help="counted runs of each process")
    p.add_argument("--prefill", type=int, default=512, metavar="P")
    p.add_argument("--decode", type=int, default=64, metavar="N")
    p.add_argument("--greedy", type=int, default=32, help="tokens to compare; 0: do not")
    p.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    p.add_argument("--adapter", help="as guanaco's")
    p.add_argument("--vk-device", default="0", help="llama.cpp's number for the same device")
    p.add_argument("--max-other", type=float, default=0.1, metavar="CORES")
    p.add_argument("--patience", type=float, default=60, metavar="S", help="to wait for a quiet machine")
    p.add_argument("--tries", type=int, default=4, help="of a sample that others disturb; the last one counts, marked *")
    p.add_argument("--json", type=Path, help="every sample goes here too, a line each")
    p.add_argument("--log", type=Path, default=Path("peers.log"), help="what the engines say on stderr")
    a = p.parse_args()
    if unknown := set(a.engines) - set(ENGINES):
        p.error(f"unknown engines: {', '.join(unknown)}")
    a.guanaco, a.worker = a.guanaco.absolute(), a.worker.absolute()

    samples, greedy = [], {}
    for model in a.models:
        for engine in a.engines if a.greedy else []:
            greedy[model.name, engine] = greedy_ids(engine, model, a)
        for round_ in range(a.rounds):
            for test, prompt, new in (("prefill", a.prefill, 0), ("decode", 8, a.decode)):
                for engine in a.engines:
                    took = sample(engine, model, prompt, new, a)
                    samples.append({"model": model.name, "engine": engine, "test": test, "round": round_} | took)
                    if a.json:
                        with open(a.json, "a") as file:
                            file.write(json.dumps(samples[-1]) + "\n")
    table(samples, greedy, a)


if __name__ == "__main__":
    main()
