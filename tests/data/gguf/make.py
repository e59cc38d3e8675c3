"""Makes the fixture in this folder, with nothing but Python: `python make.py`.

blocks/blocks.gguf: a LLaMA with random weights, each matrix in another of the types that are read, with grouped heads, a width
of heads that is not dim / heads, factors for RoPE's frequencies, an alignment of its own, a tokenizer and a chat template.
blocks/golden.json: some values of every tensor, logits and greedy tokens of it in double precision, and ids of texts.

The blocks are packed after their description in https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h: codes and scales
are drawn, and the value of each element is computed from these, never from the packed bytes.
"""
import json
import math
import os
import random
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "blocks")
DIM, HIDDEN, HEADS, KV_HEADS, HEAD_DIM, LAYERS, CONTEXT = 256, 32, 4, 1, 8, 2, 64
EPS, THETA, FACTORS, ALIGNMENT = 1e-5, 1000.0, [1.0, 1.5, 4.0, 8.0], 64
random.seed(11)


def half(number):
    """The bytes of a half, and the number that they hold."""
    data = struct.pack("<e", number)
    return data, struct.unpack("<e", data)[0]


def single(number):
    return struct.unpack("<f", struct.pack("<f", number))[0]


def codes(n, bits):
    return [random.randrange(1 << bits) for _ in range(n)]


def nibbles(values):
    """32 codes: the first half in the low bits, the second in the high ones."""
    return bytes(values[i] & 15 | (values[i + 16] & 15) << 4 for i in range(16))


def fifth_bits(values):
    return struct.pack("<I", sum((value >> 4) << i for i, value in enumerate(values)))


def q8_0(std):
    data, d = half(std / 73 * random.uniform(0.7, 1.3))
    values = [random.randrange(-127, 128) for _ in range(32)]
    return data + struct.pack("<32b", *values), [d * value for value in values]


def small(bits, has_min):
    """Q4_0, Q4_1, Q5_0, Q5_1."""
    def block(std):
        data, d = half(std / (4.6 if bits == 4 else 9.2) * random.uniform(0.7, 1.3))
        values, middle = codes(32, bits), 1 << (bits - 1)
        low = 0.0
        if has_min:
            more, low = half(-d * middle * random.uniform(0.9, 1.1))
            data += more
        data += (fifth_bits(values) if bits == 5 else b"") + nibbles(values)
        return data, [d * value + low if has_min else d * (value - middle) for value in values]
    return block


def k_block(bits):
    """Q4_K, Q5_K: eight runs of 32 codes, each with a scale and a minimum of six bits."""
    def block(std):
        width = 4.6 if bits == 4 else 9.2
        data_d, d = half(std / width / 40 * random.uniform(0.7, 1.3))
        data_m, dmin = half(d * (1 << (bits - 1)))
        scales = [random.randrange(16, 64) for _ in range(8)]
        mins = [min(63, max(0, scale + random.randrange(-6, 7))) for scale in scales]
        packed = [scales[j] | scales[j + 4] >> 4 << 6 for j in range(4)]
        packed += [mins[j] | mins[j + 4] >> 4 << 6 for j in range(4)]
        packed += [scales[j + 4] & 15 | (mins[j + 4] & 15) << 4 for j in range(4)]
        runs = [codes(32, bits) for _ in range(8)]
        high = bytes(sum((runs[j][i] >> 4) << j for j in range(8)) for i in range(32)) if bits == 5 else b""
        low = b"".join(bytes(runs[j][i] & 15 | (runs[j + 1][i] & 15) << 4 for i in range(32)) for j in range(0, 8, 2))
        values = [d * scales[j] * code - dmin * mins[j] for j in range(8) for code in runs[j]]
        return data_d + data_m + bytes(packed) + high + low, values
    return block


def q6_k(std):
    """Sixteen runs of 16 codes, each with a signed scale of eight bits."""
    data, d = half(std / 18.5 / 80 * random.uniform(0.7, 1.3))
    scales = [random.choice([-1, 1]) * random.randrange(40, 128) for _ in range(16)]
    values = codes(256, 6)
    low, high = bytearray(128), bytearray(64)
    for i, code in enumerate(values):
        part, lane = i // 128, i % 128
        low[part * 64 + lane % 64] |= (code & 15) << (0 if lane < 64 else 4)
        high[part * 32 + lane % 32] |= (code >> 4) << (lane // 32 * 2)
    return bytes(low + high) + struct.pack("<16b", *scales) + data, [d * scales[i // 16] * (values[i] - 32) for i in range(256)]


def plain(to):
    def block(std):
        return to(random.gauss(0, std))
    return block


def f16(number):
    data, value = half(number)
    return data, [value]


def bf16(number):
    data = struct.pack("<f", number)[2:]
    return data, [struct.unpack("<f", b"\0\0" + data)[0]]


TYPES = {  # number, elements of a block, what makes one
    "F16": (1, 1, plain(f16)), "BF16": (30, 1, plain(bf16)), "Q8_0": (8, 32, q8_0), "Q4_0": (2, 32, small(4, False)),
    "Q4_1": (3, 32, small(4, True)), "Q5_0": (6, 32, small(5, False)), "Q5_1": (7, 32, small(5, True)),
    "Q4_K": (12, 256, k_block(4)), "Q5_K": (13, 256, k_block(5)), "Q6_K": (14, 256, q6_k),
}

tensors = []  # name, shape (outermost first), type's name and number, data, rows of values


def matrix(name, kind, rows, cols, gain=1.0):
    number, length, block = TYPES[kind]
    data, values = b"", []
    for _ in range(rows):
        row = []
        for _ in range(cols // length):
            more, part = block(gain / math.sqrt(cols))
            data += more
            row += part
        values.append(row)
    tensors.append((name, [rows, cols], kind, number, data, values))


def vector(name, values):
    values = [single(value) for value in values]
    tensors.append((name, [len(values)], "F32", 0, struct.pack(f"<{len(values)}f", *values), [values]))


PIECES = ["▁", "e", "t", "a", "o", "n", "h", "l", "r", "w", "d", "s", "!", "ll", "he", "or", "▁t", "ld", "llo", "▁he", "wor",
          "▁hello", "▁the", "world", "▁world", "▁a", "hello", "▁w"]
TOKENS = ["<unk>", "<s>", "</s>", "<|x|>"] + PIECES
# Longer pieces were learned first; letters have no order among them.
SCORES = [0.0, 0.0, 0.0, 0.0] + [-1000.0 if len(piece) == 1 else float(-i) for i, piece in enumerate(PIECES)]
SCORES[TOKENS.index("▁w")] = -1.5
KINDS = [2, 3, 3, 4] + [1] * len(PIECES)
VOCAB = len(TOKENS)
TEXTS = ["", " ", "hello world", "hello", "the  world!", " hello", "the<|x|>hello", "</s>", "a\nb", "helloworld", "who"]


def encode(text):
    """sentencepiece's BPE as it is described: the best-scored pair of neighbours first, the left one of equal ones."""
    if not text:
        return []
    parts = []
    for i, stretch in enumerate(("▁" + text.replace(" ", "▁")).split("<|x|>")):
        parts += (["<|x|>"] if i else []) + list(stretch)
    while True:
        pairs = [(SCORES[TOKENS.index(a + b)], -i) for i, (a, b) in enumerate(zip(parts, parts[1:]))
                 if a + b in PIECES and "<|x|>" not in (a, b)]
        if not pairs:
            break
        at = -max(pairs)[1]
        parts[at:at + 2] = [parts[at] + parts[at + 1]]
    ids = [TOKENS.index(part) if part in TOKENS[3:] else 0 for part in parts]
    # Unknown characters side by side are one.
    return [id for i, id in enumerate(ids) if id or i == 0 or ids[i - 1]]


matrix("token_embd.weight", "Q6_K", VOCAB, DIM, 8.0)
for layer, kinds in enumerate([["Q4_K", "Q5_K", "F16", "Q4_0", "Q8_0", "Q4_1", "Q5_1"],
                               ["Q6_K", "BF16", "Q6_K", "Q5_0", "Q5_K", "Q4_K", "Q4_0"]]):
    q, k, v, o, gate, up, down = kinds
    name = f"blk.{layer}."
    vector(name + "attn_norm.weight", [random.uniform(0.5, 1.5) for _ in range(DIM)])
    matrix(name + "attn_q.weight", q, HEADS * HEAD_DIM, DIM, 1.5)
    matrix(name + "attn_k.weight", k, KV_HEADS * HEAD_DIM, DIM, 1.5)
    matrix(name + "attn_v.weight", v, KV_HEADS * HEAD_DIM, DIM)
    matrix(name + "attn_output.weight", o, DIM, HEADS * HEAD_DIM)
    vector(name + "ffn_norm.weight", [random.uniform(0.5, 1.5) for _ in range(DIM)])
    matrix(name + "ffn_gate.weight", gate, HIDDEN, DIM)
    matrix(name + "ffn_up.weight", up, HIDDEN, DIM)
    matrix(name + "ffn_down.weight", down, DIM, HIDDEN)
vector("output_norm.weight", [random.uniform(0.5, 1.5) for _ in range(DIM)])
matrix("output.weight", "Q5_K", VOCAB, DIM, 2.0)
vector("rope_freqs.weight", FACTORS)
WEIGHTS = {name: values for name, _, _, _, _, values in tensors}


# The forward pass, in plain loops. GGUF's llama turns the values 2i and 2i + 1 of a head together.
def times(name, x):
    return [sum(w * v for w, v in zip(row, x)) for row in WEIGHTS[name]]


def norm(name, x):
    scale = 1 / math.sqrt(sum(v * v for v in x) / len(x) + EPS)
    return [v * scale * w for v, w in zip(x, WEIGHTS[name][0])]


def turn(head, pos):
    out = []
    for i in range(HEAD_DIM // 2):
        angle = pos * THETA ** (-2 * i / HEAD_DIM) / FACTORS[i]
        a, b = head[2 * i], head[2 * i + 1]
        out += [a * math.cos(angle) - b * math.sin(angle), a * math.sin(angle) + b * math.cos(angle)]
    return out


def split(x):
    return [x[i:i + HEAD_DIM] for i in range(0, len(x), HEAD_DIM)]


def forward(ids):
    cache = [([], []) for _ in range(LAYERS)]
    for pos, token in enumerate(ids):
        x = list(WEIGHTS["token_embd.weight"][token])
        for layer, (keys, values) in enumerate(cache):
            name = f"blk.{layer}."
            normed = norm(name + "attn_norm.weight", x)
            query = [turn(head, pos) for head in split(times(name + "attn_q.weight", normed))]
            keys.append([turn(head, pos) for head in split(times(name + "attn_k.weight", normed))])
            values.append(split(times(name + "attn_v.weight", normed)))
            mixed = []
            for head, q in enumerate(query):
                kv = head * KV_HEADS // HEADS
                scores = [sum(a * b for a, b in zip(q, k[kv])) / math.sqrt(HEAD_DIM) for k in keys]
                weights = [math.exp(score - max(scores)) for score in scores]
                mixed += [sum(w * v[kv][i] for w, v in zip(weights, values)) / sum(weights) for i in range(HEAD_DIM)]
            x = [a + b for a, b in zip(x, times(name + "attn_output.weight", mixed))]
            normed = norm(name + "ffn_norm.weight", x)
            gate, up = times(name + "ffn_gate.weight", normed), times(name + "ffn_up.weight", normed)
            hidden = [g / (1 + math.exp(-g)) * u for g, u in zip(gate, up)]
            x = [a + b for a, b in zip(x, times(name + "ffn_down.weight", hidden))]
    return times("output.weight", norm("output_norm.weight", x))


def case(name, ids):
    last, ids, greedy, margins = None, list(ids), [], []
    prompt = list(ids)
    for _ in range(6):
        logits = forward(ids)
        last = last or [float(f"{value:.7g}") for value in logits]
        best = sorted(range(VOCAB), key=lambda i: -logits[i])
        greedy.append(best[0])
        margins.append(round(logits[best[0]] - logits[best[1]], 5))
        ids.append(best[0])
    return {"name": name, "prompt_ids": prompt, "last_logits": last, "greedy_ids": greedy, "greedy_margins": margins}


# The file.
def text(value):
    value = value.encode()
    return struct.pack("<Q", len(value)) + value


def key(name, kind, data):
    return text(name) + struct.pack("<I", kind) + data


def array(kind, items):
    return struct.pack("<IQ", kind, len(items)) + b"".join(items)


def u32(value):
    return struct.pack("<I", value)


KEYS = [
    key("general.architecture", 8, text("llama")),
    key("general.alignment", 4, u32(ALIGNMENT)),
    key("general.tags", 9, array(8, [text("test"), text("tiny")])),
    key("llama.block_count", 4, u32(LAYERS)),
    key("llama.context_length", 10, struct.pack("<Q", CONTEXT)),
    key("llama.embedding_length", 4, u32(DIM)),
    key("llama.feed_forward_length", 5, struct.pack("<i", HIDDEN)),
    key("llama.attention.head_count", 0, bytes([HEADS])),
    key("llama.attention.head_count_kv", 2, struct.pack("<H", KV_HEADS)),
    key("llama.attention.key_length", 4, u32(HEAD_DIM)),
    key("llama.attention.value_length", 4, u32(HEAD_DIM)),
    key("llama.rope.dimension_count", 4, u32(HEAD_DIM)),
    key("llama.rope.freq_base", 12, struct.pack("<d", THETA)),
    key("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", EPS)),
    key("tokenizer.ggml.model", 8, text("llama")),
    key("tokenizer.ggml.tokens", 9, array(8, [text(token) for token in TOKENS])),
    key("tokenizer.ggml.scores", 9, array(6, [struct.pack("<f", score) for score in SCORES])),
    key("tokenizer.ggml.token_type", 9, array(5, [struct.pack("<i", kind) for kind in KINDS])),
    key("tokenizer.ggml.bos_token_id", 4, u32(1)),
    key("tokenizer.ggml.eos_token_id", 4, u32(2)),
    key("tokenizer.chat_template", 8, text("{% for m in messages %}<|x|>{{ m.content }}{% endfor %}")),
]

infos, data = b"", b""
for name, shape, _, number, stored, _ in tensors:
    data += b"\0" * (-len(data) % ALIGNMENT)
    infos += text(name) + u32(len(shape)) + struct.pack(f"<{len(shape)}Q", *reversed(shape)) + u32(number)
    infos += struct.pack("<Q", len(data))
    data += stored
head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(KEYS)) + b"".join(KEYS) + infos
head += b"\0" * (-len(head) % ALIGNMENT)
with open(os.path.join(HERE, "blocks.gguf"), "wb") as file:
    file.write(head + data)

values = {}
for name, shape, kind, _, _, rows in tensors:
    # The first element, the last, and some between them.
    places = {(0, 0), (len(rows) - 1, len(rows[0]) - 1)}
    places |= {(random.randrange(len(rows)), random.randrange(len(rows[0]))) for _ in range(8)}
    values[name] = {"dtype": kind, "shape": shape, "sum": float(f"{sum(abs(v) for row in rows for v in row):.7g}"),
                    "samples": [[row, col, float(f"{rows[row][col]:.8g}")] for row, col in sorted(places)]}
golden = {
    "values": values,
    "embedded_tokenizer_cases": [{"text": text, "ids": encode(text)} for text in TEXTS],
    "cases": [case("short", [1, 25, 28]), case("long", [1, 4, 9, 17, 30, 3, 12, 25, 8, 21, 14, 6]), case("one", [5])],
}
with open(os.path.join(HERE, "golden.json"), "w", encoding="utf-8") as file:
    json.dump(golden, file, ensure_ascii=True, separators=(",", ":"))
