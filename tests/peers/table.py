"""The samples as a Markdown table, with this engine's ratio to each peer below it."""
import json
import os
import platform
from statistics import median


def spread(values, scale=1.0):
    values = [value * scale for value in values if value is not None]
    digits = lambda value: f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}"
    return f"{digits(median(values))} ({digits(min(values))}–{digits(max(values))})" if values else "-"


def bytes_per_token(model, weight_bytes):
    """Bytes of all weights that a decode step reads: all but the embedding, of which it reads one row."""
    config = json.loads((model / "config.json").read_text())
    stored = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    table = 0 if config.get("tie_word_embeddings") else 2 * config["vocab_size"] * config["hidden_size"]
    return (stored - table) * weight_bytes / 2


def shortened(samples, test, asked):
    """Says where a limit cut the test short."""
    ran = min((s[f"{test}_tokens"] for s in samples), default=asked)
    return f" [{ran:.0f}]" if ran < asked else ""


def agreement(ids, others):
    if not ids or not others:
        return "-"
    shared = list(zip(ids, others))
    return f"{next((i for i, (x, y) in enumerate(shared) if x != y), len(shared))}/{len(shared)}"


def print_table(samples, a, engines):
    print(f"\n{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {a.threads} threads for each engine; "
          "median (smallest–largest)\n")
    print(f"| model | engine | device | n | prefill {a.prefill} tok/s | decode {a.decode} tok/s | of read bandwidth "
          "| first token s | load s | peak MiB | of it mapped files | other | greedy |")
    print("|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    ratios = []
    for model in a.models:
        mine = [s for s in samples if s["model"] == model.name]
        ids = {s["engine"]: s["greedy"] for s in mine if s["test"] == "greedy"}
        reference = next((ids[engine] for engine in a.engines if engine in ids), None)
        medians = {}
        for engine in a.engines:
            tests = {test: [s for s in mine if (s["engine"], s["test"]) == (engine, test)]
                     for test in ("first", "prefill", "decode")}
            everything = sum(tests.values(), [])
            if not everything:
                continue
            of = lambda test, what: [s[what] for s in tests[test]]
            flat = lambda test: [rate for runs in of(test, test) for rate in runs]
            prefill, decode = flat("prefill"), flat("decode")
            if prefill and decode:
                medians[engine] = (median(prefill), median(decode))
            # What the samples read a second, beside what a plain read of memory reached just before each.
            size = bytes_per_token(model, engines[engine].weight_bytes)
            shares = [median(s["decode"]) * size / s["read_bytes_per_s"] for s in tests["decode"] if s.get("read_bytes_per_s")]
            loads = [s["load_s"] for s in tests["prefill"] + tests["decode"]]
            others = [s["other"] for s in everything if s["other"] is not None]
            devices = {s["device"] for s in tests["prefill"] + tests["decode"]}
            print(f"| {model.name} | {engine} | {', '.join(sorted(devices)) or '-'} "
                  f"| {max(map(len, tests.values()))}{'*' * any('disturbed' in s for s in everything)} "
                  f"| {spread(prefill)}{shortened(tests['prefill'], 'prefill', a.prefill)} "
                  f"| {spread(decode)}{shortened(tests['decode'], 'decode', a.decode)} "
                  f"| {f'{100 * median(shares):.0f} %' if shares else '-'} "
                  f"| {spread(of('first', 'first_s'))} | {spread(loads)} "
                  f"| {spread(of('first', 'peak_rss'), 2.0 ** -20)} | {spread(of('first', 'peak_file'), 2.0 ** -20)} "
                  f"| {f'{max(others):.2f}' if others else '-'} | {agreement(ids.get(engine), reference)} |")
        for engine, (prefill, decode) in medians.items():
            if engine != "guanaco" and "guanaco" in medians:
                own = medians["guanaco"]
                ratios.append(f"{model.name}: guanaco against {engine}: prefill × {own[0] / prefill:.2f}, "
                              f"decode × {own[1] / decode:.2f}")
    print("\n" + "\n".join(ratios))
