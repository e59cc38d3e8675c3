#!/usr/bin/env python3
"""Runs this engine and its peers on the same weights, one after the other, and prints a Markdown table.

    tests/peers/compare.py peers/models/15M peers/models/110M --json peers/samples.jsonl --resume

The protocol:
- A sample is a cold process (the file cache is warm) that loads the model and runs one test:
      first    one token after a prompt of 8; seconds from the start of the process. The peak of memory is this test's, too
      prefill  a prompt of P tokens from an empty cache, none decoded; tok/s
      decode   N tokens behind a prompt of 8, greedily; tok/s
  prefill and decode make one run that does not count, and then --runs counted ones.
- One round takes every test of every engine once; rounds repeat (A B C A B C …), so that a machine that grows slower or faster
  does so for all. The table has the medians over all runs of all rounds, with the smallest and the largest.
- `other`: the cores that other processes kept busy during a sample. A sample above --max-other is thrown away and taken again;
  before each sample the script waits for a quiet machine, up to --patience. (Linux only; elsewhere it is left out.)
- `greedy`: how many of the first tokens after a fixed prompt agree with the first engine's. Faster but different would be no win.
- `of read bandwidth`: the bytes of weights that decoding read a second, beside what read_bandwidth reached just before.
- A test that would take an engine longer than its --limit is cut short, and the table says at how many tokens: `[160]`.
- What is missing or fails is left out, with a line that says so. Every sample goes to --json at once; --resume takes only those
  that are not there yet.

README.md says how to set the engines up. All get the same number of threads.
"""
import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from engines import ENGINES, take
from process import Failed, Missing, wait_quiet
from table import print_table

DEFAULT = [name for name in ENGINES if name != "transformers-cuda"]
TESTS = ("first", "prefill", "decode")


def say(text):
    print(text, file=sys.stderr, flush=True)


def read_bandwidth(a):
    """Bytes that all threads read from memory a second; None where the program is not there."""
    program = a.peers / "read-bandwidth"
    if not program.exists():
        return None
    out = subprocess.run([program, str(a.threads)], capture_output=True, text=True, check=True)
    return json.loads(out.stdout)["read_bytes_per_s"]


def sample(engine, test, model, a):
    for _ in range(a.tries):
        wait_quiet(a.patience, a.max_other)
        bandwidth = read_bandwidth(a) if test == "decode" else None
        took = take(engine, test, model, a) | {"read_bytes_per_s": bandwidth}
        quiet = took["other"] is None or took["other"] <= a.max_other
        other = "" if took["other"] is None else f", others {took['other']:.2f} cores"
        say(f"{model.name} {engine} {test}: {took['wall_s']:.1f} s{other}{'' if quiet else ': disturbed'}")
        if quiet:
            return took
    return took | {"disturbed": True}


def settings(a):
    """What samples must have in common to stand in one table."""
    keys = ("prefill", "decode", "runs", "greedy", "threads", "context", "adapter")
    return {key: getattr(a, key) for key in keys}


def program(a):
    """Which build of this engine samples are of: it may be built anew between two runs."""
    facts = a.guanaco.stat() if a.guanaco.exists() else None
    return facts and f"{facts.st_size} bytes of {facts.st_mtime:.0f}"


def earlier(a):
    """The samples of --json that were taken with these settings and by none disturbed."""
    found, other_build = [], 0
    for number, line in enumerate(a.json.read_text().splitlines(), 1):
        try:
            record = json.loads(line)
        except ValueError:
            say(f"{a.json}:{number}: no JSON, probably cut off: ignored")
            continue
        if record["settings"] != settings(a):
            sys.exit(f"{a.json}:{number} was taken with {record['settings']}, not {settings(a)}: take another file")
        if record["engine"] == "guanaco" and record["program"] != program(a):
            other_build += 1
        elif "disturbed" not in record:
            found.append(record)
    if other_build:
        say(f"{a.json}: {other_build} samples are of another build of guanaco: ignored")
    return found


def append(record, a):
    """Behind the samples that are there; the last of them may have been cut off."""
    with open(a.json, "a+") as file:
        file.seek(max(0, file.tell() - 1))
        cut = file.read() not in ("", "\n")
        file.write("\n" * cut + json.dumps(record) + "\n")


def plan(a):
    """(model, round, test, engine) in the order of the protocol."""
    for model in a.models:
        for engine in a.engines if a.greedy and a.rounds else []:
            yield model, 0, "greedy", engine
        for round_ in range(a.rounds):
            for test in TESTS:
                for engine in a.engines:
                    yield model, round_, test, engine


def measure(a):
    samples = earlier(a) if a.resume and a.json.exists() else []
    key = lambda record: (record["model"], record["round"], record["test"], record["engine"])
    done, left_out = {key(record) for record in samples}, set()
    if done:
        say(f"{len(done)} samples are in {a.json} already")
    for model, round_, test, engine in plan(a):
        # One that failed would fail again: its other tests, on this model, may still work.
        if (model.name, round_, test, engine) in done or (model.name, test, engine) in left_out:
            continue
        try:
            took = sample(engine, test, model, a)
        except (Missing, Failed) as error:
            say(f"{model.name} {engine} {test} left out: {error}")
            left_out |= {(model.name, each, engine) for each in ((test,) if isinstance(error, Failed) else ("greedy", *TESTS))}
            continue
        record = {"model": model.name, "engine": engine, "test": test, "round": round_, "settings": settings(a)} | took
        record |= {"program": program(a)} if engine == "guanaco" else {}
        samples.append(record)
        if a.json:
            append(record, a)
    return samples


def limits(p, texts):
    """Seconds of each engine by name, and of all others under the empty name."""
    found = {"": 60.0}
    for text in texts:
        name, _, seconds = text.rpartition("=")
        try:
            found[name] = float(seconds)
        except ValueError:
            p.error(f"--limit: expected SECONDS or ENGINE=SECONDS, got {text!r}")
    if unknown := set(found) - set(ENGINES) - {""}:
        p.error(f"--limit: unknown engines: {', '.join(unknown)}")
    return found


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="+", type=Path, help="checkpoints in fp16 safetensors, with GGUF beside them (to_gguf.py)")
    p.add_argument("--peers", type=Path, default=Path("peers"), help="the folder that `setup` filled")
    p.add_argument("--guanaco", type=Path, default=Path("target/release/guanaco"))
    p.add_argument("--engines", type=lambda text: text.split(","), default=DEFAULT,
                   help=f"of: {', '.join(ENGINES)}; greedy tokens are compared with the first one's")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--runs", type=int, default=1, help="counted runs of each process")
    p.add_argument("--prefill", type=int, default=512, metavar="P")
    p.add_argument("--decode", type=int, default=64, metavar="N")
    p.add_argument("--greedy", type=int, default=32, help="tokens to compare; 0: do not")
    p.add_argument("--context", type=int, default=1024, help="positions of the KV cache, where an engine takes them at load")
    p.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    p.add_argument("--adapter", help="as guanaco's")
    p.add_argument("--vk-device", default="0", help="llama.cpp's number for the same device")
    p.add_argument("--limit", action="append", default=[], metavar="[ENGINE=]S", help="seconds of one test, default 60")
    p.add_argument("--timeout", type=float, default=1800, metavar="S", help="a process that takes longer has failed")
    p.add_argument("--max-other", type=float, default=0.1, metavar="CORES")
    p.add_argument("--patience", type=float, default=300, metavar="S", help="to wait for a quiet machine")
    p.add_argument("--tries", type=int, default=4, help="of a sample that others disturb; the last one counts, marked *")
    p.add_argument("--json", type=Path, help="every sample goes here too, a line each")
    p.add_argument("--resume", action="store_true", help="go on with what --json has")
    p.add_argument("--log", type=Path, default=Path("peers.log"), help="what the engines say on stderr")
    a = p.parse_args()
    a.limits = limits(p, a.limit)
    if unknown := set(a.engines) - set(ENGINES):
        p.error(f"unknown engines: {', '.join(unknown)}")
    if a.resume and not a.json:
        p.error("--resume needs --json")
    if a.json and a.json.exists() and not a.resume:
        p.error(f"{a.json} is there already: --resume goes on with it")
    if missing := [str(model) for model in a.models if not (model / "config.json").exists()]:
        p.error(f"no config.json in {', '.join(missing)}")
    a.peers, a.guanaco = a.peers.absolute(), a.guanaco.absolute()
    print_table(measure(a), a, ENGINES)


if __name__ == "__main__":
    main()
