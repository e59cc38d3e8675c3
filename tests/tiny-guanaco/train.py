"""Trains tiny-guanaco: a plain LLaMA, small enough for two processor cores.

Three things make it fit into about an hour:
- a prompt's shared part is read once for several questions about it (a tree-shaped attention mask keeps the questions from
  seeing each other; the result is the same as with separate prompts);
- the last layer and the output are computed only where an answer token is predicted;
- Muon (orthogonalised momentum) moves the matrices, AdamW only the embeddings and norms.

    python train.py --dir RUN_DIR
Run it again to go on from the last checkpoint. RUN_DIR/mix.json, read every few minutes, may change the mixture.
"""
import argparse
import json
import math
import random
import tempfile
import time
from functools import lru_cache
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F
from tokenizers import Tokenizer

from dialogues import CODES, SKILLS, Maker, records, turn_text

CONFIG = dict(vocab=2048, dim=256, layers=4, heads=8, hidden=640, context=1024, eps=1e-6, theta=10000.0)


# --- the model: LLaMA with tied embeddings ---------------------------------------------------------------------------
def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def attend(q, k, v, mask):
    """Attention in three steps: for short rows on a processor the gradient is three times faster than the fused one's."""
    score = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return torch.softmax(score.masked_fill(~mask, -1e4), -1).to(v.dtype) @ v


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, h = c["dim"], c["hidden"]
        self.heads, self.eps = c["heads"], c["eps"]
        self.norm1, self.norm2 = nn.Parameter(torch.ones(d)), nn.Parameter(torch.ones(d))
        self.q, self.k, self.v, self.o = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.gate, self.up, self.down = nn.Linear(d, h, bias=False), nn.Linear(d, h, bias=False), nn.Linear(h, d, bias=False)

    def forward(self, x, cos, sin, mask, pick=None):
        """With `pick` (B, M), only those positions go on; keys and values still come from all."""
        def split(y):
            return y.view(y.shape[0], y.shape[1], self.heads, -1).transpose(1, 2)

        y = F.rms_norm(x, x.shape[-1:], self.norm1, self.eps)
        k, v = rotate(split(self.k(y)), cos, sin), split(self.v(y))
        if pick is not None:
            def take(t, dim):
                shape = [t.shape[0]] + [1] * (t.dim() - 1)
                shape[dim] = pick.shape[1]
                size = list(t.shape)
                size[dim] = pick.shape[1]
                return t.gather(dim, pick.view(shape).expand(size))
            x, y, cos, sin, mask = take(x, 1), take(y, 1), take(cos, 2), take(sin, 2), take(mask, 2)
        q = rotate(split(self.q(y)), cos, sin)
        a = attend(q, k.to(q.dtype), v.to(q.dtype), mask)
        x = x + self.o(a.transpose(1, 2).reshape(x.shape))
        y = F.rms_norm(x, x.shape[-1:], self.norm2, self.eps)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Model(nn.Module):
    def __init__(self, c=CONFIG):
        super().__init__()
        self.c = c
        self.embed = nn.Embedding(c["vocab"], c["dim"])
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["layers"]))
        self.norm = nn.Parameter(torch.ones(c["dim"]))
        nn.init.normal_(self.embed.weight, std=0.02)
        for layer in self.layers:
            for name, p in layer.named_parameters():
                if p.dim() == 2:
                    nn.init.normal_(p, std=0.5 / math.sqrt(p.shape[1]))
            nn.init.zeros_(layer.o.weight)
            nn.init.zeros_(layer.down.weight)
        half = c["dim"] // c["heads"] // 2
        angle = torch.arange(c["context"])[:, None] * c["theta"] ** (-torch.arange(half) / half)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, ids, pos, mask, pick=None, keep=None):
        """Logits at all positions, or a flat list of those at `pick` where `keep` says so."""
        x = self.embed(ids)
        cos, sin = self.cos[pos][:, None].to(torch.bfloat16 if torch.is_autocast_enabled("cpu") else x.dtype), \
            self.sin[pos][:, None].to(torch.bfloat16 if torch.is_autocast_enabled("cpu") else x.dtype)
        for layer in self.layers[:-1]:
            x = layer(x, cos, sin, mask)
        x = self.layers[-1](x, cos, sin, mask, pick)
        if keep is not None:
            x = x.flatten(0, 1)[keep]
        return F.linear(F.rms_norm(x, x.shape[-1:], self.norm, self.c["eps"]), self.embed.weight)


class Muon:
    """Momentum, made orthogonal by five Newton-Schulz steps; matrices of one shape go together."""

    def __init__(self, params, momentum=0.95):
        self.params, self.momentum = list(params), momentum
        self.m = [torch.zeros_like(p) for p in self.params]

    @torch.no_grad()
    def step(self, lr, rank=0, ranks=1):
        """Each rank makes the updates of its share of the matrices; a sum hands them round."""
        updates = [torch.zeros_like(p) for p in self.params]
        groups = {}
        for i, (p, m) in enumerate(zip(self.params, self.m)):
            m.lerp_(p.grad, 1 - self.momentum)
            if i % ranks == rank:
                u = p.grad.lerp(m, self.momentum)
                groups.setdefault((min(u.shape), max(u.shape)), []).append((i, u if u.shape[0] <= u.shape[1] else u.T))
        for items in groups.values():
            x = torch.stack([u for _, u in items]).bfloat16()
            x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
            for _ in range(5):
                a = x @ x.mT
                b = -4.7750 * a + 2.0315 * (a @ a)
                x = 3.4445 * x + b @ x
            for (i, _), u in zip(items, x.float()):
                updates[i] = u if self.params[i].shape[0] <= self.params[i].shape[1] else u.T
        if ranks > 1:
            flat = torch.cat([u.flatten() for u in updates])
            dist.all_reduce(flat)
            updates = [u.view_as(p) for u, p in zip(flat.split([p.numel() for p in self.params]), self.params)]
        for p, u in zip(self.params, updates):
            p.sub_(u, alpha=lr * max(1, p.shape[0] / p.shape[1]) ** 0.5)


# --- batches -----------------------------------------------------------------------------------------------------------
class Encoder:
    def __init__(self, path):
        self.tok = Tokenizer.from_file(str(path))
        self.line = lru_cache(20000)(self.line_)

    def line_(self, text):
        return tuple(self.tok.encode("\n" + text, add_special_tokens=False).ids[2:])  # without "▁" and the newline

    def __call__(self, text, first=False):
        """Tokens of text; a newline ends every merge, so lines can be encoded (and remembered) one by one."""
        lines = text.split("\n")
        ids = [1] + self.tok.encode(lines[0], add_special_tokens=False).ids if first else list(self.line(lines[0]))
        for text in lines[1:]:
            ids.append(13)  # <0x0A>
            ids += self.line(text)
        return ids


class Batches:
    def __init__(self, encoder, seed, width):
        self.encode, self.make, self.width = encoder, Maker(seed), width
        self.mix, self.wait = {}, {}

    def group(self, width):
        """(prefix tokens, [(turn tokens, tokens of the question)]) that fits into a row."""
        while True:
            skill = self.make.r.choices(SKILLS, [self.mix.get(s, 1) for s in SKILLS])[0]
            g = self.make.make(self.make.r.choices(CODES, [self.mix.get(c, 1) for c in CODES])[0], skill)
            prefix = self.encode(g.prefix(), first=True)
            turns, room = [], width - len(prefix)
            for question, answer in self.make.r.sample(list(dict(g.turns).items()), len(dict(g.turns))):
                q, a = self.encode(turn_text(question)), self.encode(answer) + [2]
                if len(q) + len(a) - 1 <= room:
                    turns.append((q + a, len(q)))
                    room -= len(q) + len(a) - 1
            if turns:
                return prefix, turns, width - room

    def __call__(self, rows, width):
        """Packs groups into rows, best fit from a small waiting list."""
        ids = torch.zeros(rows, width, dtype=torch.long)
        pos, seg, branch = torch.zeros_like(ids), torch.full_like(ids, -1), torch.zeros_like(ids)
        picks, targets = [], []
        for r in range(rows):
            at, n, pick, target = 0, 0, [], []
            while True:
                wait = self.wait.setdefault(width, [])
                self.make.long = width > self.width
                while len(wait) < (60 if width == self.width else 20):
                    wait.append(self.group(width))
                fits = [g for g in wait if g[2] <= width - at]
                if not fits:
                    break
                g = fits[0] if at < width * 0.6 else max(fits, key=lambda g: g[2])
                wait.remove(g)
                prefix, turns, _ = g
                row, p, b = list(prefix), list(range(len(prefix))), [0] * len(prefix)
                for i, (turn, nq) in enumerate(turns):
                    start = at + len(row)
                    pick += range(start + nq - 1, start + len(turn) - 1)
                    target += turn[nq:]
                    row += turn[:-1]
                    p += range(len(prefix), len(prefix) + len(turn) - 1)
                    b += [i + 1] * (len(turn) - 1)
                end = at + len(row)
                ids[r, at:end], pos[r, at:end] = torch.tensor(row), torch.tensor(p)
                branch[r, at:end], seg[r, at:end] = torch.tensor(b), n
                at, n = end, n + 1
            picks.append(pick)
            targets.append(target)
        m = -(-max(map(len, picks)) // 16) * 16
        pick = torch.tensor([p + [0] * (m - len(p)) for p in picks])
        target = torch.tensor([t + [-100] * (m - len(t)) for t in targets])
        mask = (seg[:, :, None] == seg[:, None]) & ((branch[:, None] == 0) | (branch[:, :, None] == branch[:, None]))
        mask = (mask & torch.ones(width, width, dtype=torch.bool).tril())[:, None]
        return ids, pos, mask, pick, target, int((seg >= 0).sum())


# --- evaluation ----------------------------------------------------------------------------------------------------------
@torch.no_grad()
def right(model, encode, items, batch=24):
    """For each record, whether greedy decoding gives the answer exactly: whether every token of it is the likeliest one."""
    out = [False] * len(items)
    coded = sorted(((encode(x["prompt"], first=True), encode(x["answer"]) + [2], i) for i, x in enumerate(items)), key=lambda c: len(c[0]) + len(c[1]))
    for at in range(0, len(coded), batch):
        part = coded[at:at + batch]
        width = max(len(q) + len(a) for q, a, _ in part)
        ids = torch.tensor([q + a + [0] * (width - len(q) - len(a)) for q, a, _ in part])
        mask = torch.ones(width, width, dtype=torch.bool).tril()[None, None].expand(len(part), 1, -1, -1)
        best = model(ids, torch.arange(width).expand(len(part), -1), mask).argmax(-1)
        for row, (q, a, i) in zip(best.tolist(), part):
            out[i] = row[len(q) - 1:len(q) + len(a) - 1] == a
    return out


def table(items, ok):
    lines = ["%-10s" % "" + "".join("%7s" % c for c in CODES) + "    all"]
    for s in SKILLS + [None]:
        cells = [[o for x, o in zip(items, ok) if (s is None or x["skill"] == s) and (c is None or x["lang"] == c)] for c in CODES + [None]]
        lines.append("%-10s" % (s or "all") + "".join("%7.0f" % (100 * sum(c) / max(1, len(c))) for c in cells))
    return "\n".join(lines)


def arguments():
    ap = argparse.ArgumentParser()
    ap.add_argument("--dir", type=Path, required=True)
    ap.add_argument("--minutes", type=float, default=80, help="of training in all, over every run")
    ap.add_argument("--decay", type=float, default=50, help="of which the rate falls to zero in the last so many")
    ap.add_argument("--rows", type=int, default=18)
    ap.add_argument("--width", type=int, default=160)
    ap.add_argument("--muon", type=float, default=0.02)
    ap.add_argument("--adam", type=float, default=3e-3)
    ap.add_argument("--grow", type=int, default=1200, help="steps until dialogues have their full length")
    ap.add_argument("--every", type=float, default=3, help="minutes between evaluations")
    ap.add_argument("--ranks", type=int, default=2, help="processes of one thread each, which share the gradient once a step")
    return ap.parse_args()


def train(rank, a, meeting):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if a.ranks > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=a.ranks)
    encode = Encoder(a.dir / "tokenizer.json")
    model = Model()
    params = list(model.parameters())
    matrices = [p for l in model.layers for p in l.parameters() if p.dim() == 2]
    others = [p for p in params if not any(p is m for m in matrices)]
    muon, adam = Muon(matrices), torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0)
    step = tokens = 0
    seconds = 0.0
    saved = a.dir / "checkpoint.pt"
    if saved.exists():
        s = torch.load(saved)
        model.load_state_dict(s["model"]); adam.load_state_dict(s["adam"]); muon.m = s["muon"]
        step, tokens, seconds = s["step"], s["tokens"], s["seconds"]
    held = list(records(6, seed=2)) if rank == 0 else []
    if rank == 0:
        print(sum(p.numel() for p in params), "parameters; from step", step, flush=True)
    data = Batches(encode, 1000 + step + 500009 * rank, a.width)
    chance = random.Random(step)
    last_eval, run_loss, n = seconds, 0.0, 0
    mix = a.dir / "mix.json"
    while True:
        began = time.time()
        if n % 50 == 0 and mix.exists():
            data.mix = json.loads(mix.read_text())
        # Rank 0 has the clock: the others follow its rate, its row width and its end.
        # Now and then rows are twice as wide, for long conversations; `wide` in mix.json says how often.
        rate = min(1.0, (step + 1) / 50, max(0.01, (a.minutes * 60 - seconds) / (a.decay * 60)))
        plan = torch.tensor([rate, 2 if chance.random() < data.mix.get("wide", 0) else 1, seconds < a.minutes * 60])
        if a.ranks > 1:
            dist.broadcast(plan, 0)
        rate, wide, go = plan[0].item(), int(plan[1]), bool(plan[2])
        if not go:
            break
        data.make.level = min(1.0, step / a.grow)
        ids, pos, mask, pick, target, real = data(a.rows // wide, a.width * wide)
        made = time.time()
        with torch.autocast("cpu", torch.bfloat16):
            keep = (target.flatten() >= 0).nonzero()[:, 0]
            logits = model(ids, pos, mask, pick, keep)
        loss = F.cross_entropy(logits.float(), target.flatten()[keep])
        for p in params:
            p.grad = None
        loss.backward()
        back = time.time()
        if a.ranks > 1:
            flat = torch.cat([p.grad.flatten() for p in params] + [torch.tensor([float(real)])])
            dist.all_reduce(flat)
            for p, g in zip(params, flat.split([p.numel() for p in params] + [1])):
                p.grad = (g / a.ranks).view_as(p)
            real = int(flat[-1])
        shared = time.time()
        muon.step(a.muon * rate, rank, a.ranks)
        for g in adam.param_groups:
            g["lr"] = a.adam * rate
        adam.step()
        step, tokens, n, run_loss = step + 1, tokens + real, n + 1, run_loss + loss.item()
        now = time.time()
        seconds += now - began
        if rank:
            continue
        if step % 20 == 0:
            print(f"step {step} {seconds / 60:.1f} min {tokens / 1e6:.2f} Mtok loss {loss.item():.3f} rate {rate:.2f} data {made - began:.2f}s "
                  f"back {back - made:.2f}s wait {shared - back:.2f}s opt {now - shared:.2f}s {real / (now - began):.0f} tok/s", flush=True)
        if seconds - last_eval > a.every * 60 or seconds >= a.minutes * 60:
            last_eval = seconds
            torch.save(dict(model=model.state_dict(), adam=adam.state_dict(), muon=muon.m, step=step, tokens=tokens, seconds=seconds), str(saved) + ".new")
            Path(str(saved) + ".new").replace(saved)
            with torch.autocast("cpu", torch.bfloat16):
                ok = right(model, encode, held)
            print(f"--- step {step}, {seconds / 60:.1f} min, {tokens / 1e6:.1f} Mtok, mean loss {run_loss / n:.4f}\n{table(held, ok)}", flush=True)
            run_loss, n = 0.0, 0


def main():
    a = arguments()
    if a.ranks == 1:
        return train(0, a, None)
    meeting = tempfile.mktemp()
    torch.multiprocessing.spawn(train, (a, meeting), nprocs=a.ranks)


if __name__ == "__main__":
    main()
