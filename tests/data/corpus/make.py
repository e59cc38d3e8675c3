"""Makes the seeds in this folder, with nothing but Python: `python make.py`. The other files beside them were found by fuzzing.

One folder for each target of tests/src/fuzz.rs. Seeds are small, since an input is changed byte by byte, and named `seed-NAME`;
those that once broke something are named `was-NAME`.
"""
import base64
import glob
import json
import os
import struct
import sys
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.dirname(HERE)


def put(target, name, content):
    folder = os.path.join(HERE, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "seed-" + name), "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


def dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


LAYER = [("self_attn.q_proj", 2), ("self_attn.k_proj", 2), ("self_attn.v_proj", 2), ("self_attn.o_proj", 2),
         ("mlp.gate_proj", 2), ("mlp.up_proj", 2), ("mlp.down_proj", 2), ("input_layernorm", 1),
         ("post_attention_layernorm", 1)]


# --- safetensors

def safetensors(tensors, metadata=None, pad=0, data=None):
    header, at = {}, 0
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, dtype, size, shape in tensors:
        count = size
        for extent in shape:
            count *= extent
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + count]}
        at += count
    text = dump(header).encode() + b" " * pad
    return struct.pack("<Q", len(text)) + text + (bytes(range(256)) * (at // 256 + 1))[:at]


def model(dtype, size):
    tensors = [("model.embed_tokens.weight", dtype, size, [3, 2]), ("model.norm.weight", dtype, size, [2])]
    return tensors + [(f"model.layers.0.{name}.weight", dtype, size, [2] * rank) for name, rank in LAYER]


def seeds_of_safetensors():
    for dtype, size in [("F16", 2), ("BF16", 2), ("F32", 4)]:
        put("safetensors", dtype.lower(), safetensors(model(dtype, size), {"format": "pt"}, pad=3))
    kinds = [("F64", 8), ("I64", 8), ("I32", 4), ("I16", 2), ("I8", 1), ("U8", 1), ("BOOL", 1)]
    put("safetensors", "kinds", safetensors([(f"t{i}", dtype, size, [i, 1]) for i, (dtype, size) in enumerate(kinds)]))
    put("safetensors", "empty", struct.pack("<Q", 2) + b"{}")
    good = safetensors([("a", "F16", 2, [2, 2]), ("b", "F32", 4, [])])
    put("safetensors", "two", good)
    put("safetensors", "cut", good[:-3])
    for name, old, new in [("overlap", b"[8,12]", b"[4,8] "), ("huge", b"[2,2]", b"[4294967296,4294967297]"),
                           ("negative", b"[8,12]", b"[-1,2]"), ("twice", b'"b"', b'"a"'),
                           ("float", b"[8,12]", b"[8.0,1e1]"), ("deep", b"[2,2]", b"[" * 200)]:
        text = good[8:-12].replace(old, new)
        put("safetensors", name, struct.pack("<Q", len(text)) + text + good[-12:])
    put("safetensors", "huge-header", struct.pack("<Q", 2**63) + b"{")
    put("safetensors", "lfs", b"version https://git-lfs.github.com/spec/v1\n")


# --- zip and pickle

def seeds_of_pytorch():
    for path in sorted(glob.glob(os.path.join(DATA, "pytorch", "*", "*.bin"))):
        name = os.path.basename(path)[:-4].replace("_", "-")
        with open(path, "rb") as file:
            content = file.read()
        if len(content) > 2000:
            continue
        if not content.startswith(b"PK"):
            put("pickle", name, content)
            continue
        put("zip", name, content)
        try:
            with zipfile.ZipFile(path) as archive:
                pickle = next((entry for entry in archive.namelist() if entry.endswith("/data.pkl")), None)
                if pickle and "slip" not in name and archive.getinfo(pickle).file_size < 2000:
                    put("pickle", name, archive.read(pickle))
        except (zipfile.BadZipFile, zipfile.zlib.error, EOFError):
            pass


# --- GGUF

def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(kind, item):
    return struct.pack("<I", kind) + (text(item) if kind == 8 else struct.pack("<" + "BbHhIifBxxQqd"[kind], item))


def array(kind, items):
    body = b"".join(value(kind, item)[4:] for item in items)
    return struct.pack("<IIQ", 9, kind, len(items)) + body


def gguf(keys, tensors, version=3, alignment=32):
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    out += b"".join(text(key) + item for key, item in keys)
    data = b""
    for name, shape, kind, size in tensors:
        out += text(name) + struct.pack("<I", len(shape))
        out += b"".join(struct.pack("<Q", extent) for extent in reversed(shape))
        out += struct.pack("<IQ", kind, len(data))
        data += b"\x3c" * size
        data += b"\0" * (-len(data) % alignment)
    return out + b"\0" * (-len(out) % alignment) + data


KEYS = [("general.architecture", value(8, "llama")), ("llama.block_count", value(4, 1)),
        ("llama.context_length", value(4, 64)), ("llama.embedding_length", value(4, 32)),
        ("llama.feed_forward_length", value(4, 32)), ("llama.attention.head_count", value(4, 1)),
        ("llama.attention.layer_norm_rms_epsilon", value(6, 1e-5))]
# Bytes of 32 elements of each type: F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, BF16.
SIZES = {0: 128, 1: 64, 2: 18, 3: 20, 6: 22, 7: 24, 8: 34, 30: 64}
MATRICES = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]


def llama(kinds, vocab=4):
    tensors = [("token_embd.weight", [vocab, 32], kinds[0], vocab * SIZES[kinds[0]]), ("output_norm.weight", [32], 0, 128)]
    tensors += [(f"blk.0.{name}.weight", [32], 0, 128) for name in ("attn_norm", "ffn_norm")]
    for at, name in enumerate(MATRICES):
        kind = kinds[at % len(kinds)]
        tensors.append((f"blk.0.{name}.weight", [32, 32], kind, 32 * SIZES[kind]))
    return tensors


def seeds_of_gguf():
    sentencepiece = [("tokenizer.ggml.model", value(8, "llama")),
                     ("tokenizer.ggml.tokens", array(8, ["<unk>", "<s>", "</s>", "\u2581a"])),
                     ("tokenizer.ggml.scores", array(6, [0.0, 0.0, 0.0, -1.0])),
                     ("tokenizer.ggml.token_type", array(5, [2, 3, 3, 1])),
                     ("tokenizer.ggml.add_bos_token", value(7, 1))]
    letters = ["<|begin_of_text|>", "h", "e", "he", "l", "o", "\u0120"]
    bytes_ = [("tokenizer.ggml.model", value(8, "gpt2")), ("tokenizer.ggml.pre", value(8, "llama-bpe")),
              ("tokenizer.ggml.tokens", array(8, letters)), ("tokenizer.ggml.token_type", array(5, [3] + [1] * 6)),
              ("tokenizer.ggml.merges", array(8, ["h e"])), ("tokenizer.ggml.bos_token_id", value(4, 0))]
    put("gguf", "quantised", gguf(KEYS + sentencepiece, llama([2, 3, 6, 7, 8])))
    put("gguf", "plain", gguf(KEYS + [("llama.vocab_size", value(4, 4)), ("general.alignment", value(4, 8))],
                              llama([30, 8, 2]), alignment=8))
    put("gguf", "v2", gguf(KEYS, llama([2]), version=2))
    put("gguf", "head", gguf(KEYS + sentencepiece, []))
    put("gguf", "bytes", gguf(KEYS + bytes_, []))
    rope = [("llama.rope.freq_base", value(6, 1e4)), ("llama.rope.scaling.type", value(8, "linear")),
            ("llama.rope.scaling.factor", value(6, 2.0)), ("llama.attention.key_length", value(4, 32)),
            ("llama.rope.dimension_count", value(4, 32)), ("tokenizer.chat_template", value(8, "{{ messages }}"))]
    put("gguf", "rope", gguf(KEYS + rope, [("rope_freqs.weight", [16], 0, 64)]))
    put("gguf", "kinds", gguf([(f"k{kind}", value(kind, 1)) for kind in (0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12)]
                              + [("a", array(9, []))], [("k", [256], 12, 144), ("k5", [256], 13, 176), ("k6", [256], 14, 210)]))
    put("gguf", "split", gguf([("split.count", value(2, 2)), ("split.no", value(2, 0))], []))
    for name, content in [("magic", b"GGUF"), ("older", b"tjgg\x01\0\0\0"), ("big-endian", b"GGUF\0\0\0\x03" + bytes(16)),
                          ("counts", b"GGUF" + struct.pack("<IQQ", 3, 2**40, 2**40)),
                          ("long-key", b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**60)),
                          ("wraps", gguf([], [("a", [2**62, 4], 0, 32), ("b", [0], 0, 0)]))]:
        put("gguf", name, content)


# --- the configurations beside the tensors

def seeds_of_configs():
    plain = {"bits": 4, "group_size": -1, "damp_percent": 0.01, "desc_act": False, "sym": True, "true_sequential": True}
    put("gptq_config", "plain", dump(plain))
    put("gptq_config", "groups", dump({**plain, "group_size": 32, "desc_act": True}))
    put("gptq_config", "v2", dump({"bits": 4, "checkpoint_format": "gptq_v2", "quant_method": "gptq"}))
    put("gptq_config", "other", dump({**plain, "bits": 3, "quant_method": "awq", "model_file_base_name": "model"}))
    order = b"".join(struct.pack("<i", 0) for _ in range(32))
    put("gptq_config", "values", dump(plain).encode() + b"\0" + order + bytes(range(200)))
    put("gptq_config", "wrong-group", dump(plain).encode() + b"\0" + struct.pack("<i", -1))

    lora = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "lora_dropout": 0.05, "bias": "none", "fan_in_fan_out": False,
            "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    patterns = {**lora, "r": 2, "use_rslora": True, "rank_pattern": {"q_proj": 4},
                "alpha_pattern": {"^model.layers.0.self_attn.q_proj": 16}}
    put("lora_config", "plain", dump(lora))
    put("lora_config", "patterns", dump(patterns))
    for field, item in [("use_dora", True), ("peft_type", "IA3"), ("r", 0), ("lora_alpha", 1e300), ("bias", "all"),
                        ("layer_replication", [[0, 1]]), ("rank_pattern", {"(q|v)": 1})]:
        put("lora_config", field.replace("_", "-"), dump({**lora, field: item}))
    base = "base_model.model."
    for name, tensors in [
        ("mlp", [(base + "model.layers.0.mlp.up_proj.lora_A.weight", "F16", 2, [4, 2]),
                 (base + "model.layers.0.mlp.up_proj.lora_B.weight", "F16", 2, [2, 4])]),
        ("embedding", [(base + "model.embed_tokens.lora_embedding_A", "F32", 4, [4, 3]),
                       (base + "model.embed_tokens.lora_embedding_B", "F32", 4, [2, 4])]),
        ("whole", [(base + "lm_head.weight", "F32", 4, [3, 2]),
                   (base + "model.embed_tokens.modules_to_save.default.weight", "F16", 2, [3, 2])]),
        ("half", [(base + "model.layers.0.mlp.up_proj.lora_A.weight", "BF16", 2, [4, 2])]),
    ]:
        put("lora_config", "tensors-" + name, dump(lora).encode() + b"\0" + safetensors(tensors))

    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
              "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 128,
              "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "hidden_act": "silu", "bos_token_id": 1,
              "eos_token_id": [2, 3], "pad_token_id": 0, "tie_word_embeddings": False, "torch_dtype": "float16"}
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 64}
    put("config_json", "plain", dump(config))
    put("config_json", "generation", dump(config).encode() + b"\0" + dump({"bos_token_id": 1, "eos_token_id": [2, 9]}).encode())
    put("config_json", "2023", dump({"architectures": ["LLaMAForCausalLM"], "hidden_size": 8, "intermediate_size": 8,
                                     "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 9,
                                     "max_sequence_length": 9, "rope_scaling": {"type": "linear", "factor": 2}}))
    put("config_json", "llama3", dump({**config, "head_dim": 32, "rope_theta": 5e5, "rope_scaling": llama3}))
    put("config_json", "rope-parameters", dump({**config, "attention_bias": True, "mlp_bias": True,
                                                "rope_parameters": {**llama3, "rope_theta": 1e4}}))
    put("config_json", "yarn", dump({**config, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}))
    put("config_json", "dynamic", dump({**config, "rope_scaling": {"type": "dynamic", "factor": 4.0}}))
    for field, item in [("hidden_size", 65), ("num_hidden_layers", 1024), ("vocab_size", 2**40), ("rms_norm_eps", -1),
                        ("num_key_value_heads", 3), ("head_dim", 3), ("hidden_act", "gelu"), ("rope_theta", 0),
                        ("max_position_embeddings", 1e300), ("bos_token_id", -1), ("partial_rotary_factor", 0.5)]:
        put("config_json", field.replace("_", "-"), dump({**config, field: item}))


# --- tokenizers

def varint(number):
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def piece(content, score, kind):
    return field(1, field(1, content.encode()) + b"\x15" + struct.pack("<f", score) + bytes([0x18, kind]))


def seeds_of_sentencepiece():
    specials = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3)
    words = b"".join(piece(word, -at, 1) for at, word in enumerate(["ll", "llo", "he", "\u2581he", "\u2581", "h", "e", "l", "o"]))
    bpe, fallback = bytes([0x18, 2]), bytes([0x98, 0x02, 1])
    identity = field(3, field(1, b"identity") + bytes([0x18, 1, 0x20, 0, 0x28, 1]))
    put("sentencepiece", "words", specials + words + field(2, bpe) + identity)
    put("sentencepiece", "collapse", specials + words + field(2, bpe) + field(3, bytes([0x18, 0, 0x20, 1, 0x28, 0])))
    kinds = piece("hel", -2, 5) + piece("lo", -3, 4) + piece("\u2581wor", -4, 4)
    put("sentencepiece", "kinds", specials + words + kinds + field(2, bpe + field(44, b"?")) + identity)
    all_bytes = b"".join(piece(f"<0x{byte:02X}>", 0, 6) for byte in range(256))
    put("sentencepiece", "bytes", specials + all_bytes + words + field(2, bpe + fallback) + identity)
    put("sentencepiece", "unigram", specials + words + field(2, bytes([0x18, 1])))
    put("sentencepiece", "charsmap", specials + field(2, bpe) + field(3, field(2, b"abcd")))
    put("sentencepiece", "ids", specials + field(2, bpe + b"\xc8\x02\x02" + b"\xd0\x02" + varint(2**64 - 1)) + identity)
    for name, content in [("nan", piece("<unk>", float("nan"), 2) + field(2, bpe)), ("infinite", specials
                          + piece("hh", float("inf"), 1) + piece("h", float("-inf"), 1) + field(2, bpe)),
                          ("long", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), ("bomb", b"\xff" * 12),
                          ("wires", bytes([0x09]) + bytes(8) + bytes([0x15]) + bytes(4) + bytes([0x20, 1]))]:
        put("sentencepiece", name, content)


def special(number, content, **more):
    return {"id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": True, **more}


def seeds_of_tokenizer_json():
    vocab = {word: at for at, word in enumerate(["<unk>", "<s>", "</s>", "\u2581", "h", "e", "l", "o", "he", "ll", "llo", "\u2581he"])}
    decoder = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
               {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    frame = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
             "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
             "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    llama = {"version": "1.0", "truncation": None, "padding": None,
             "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>", normalized=True, rstrip=True)],
             "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"},
                            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
             "pre_tokenizer": None, "post_processor": frame, "decoder": decoder,
             "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                       "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": False, "vocab": vocab,
                       "merges": ["l l", "ll o", "h e", "\u2581 he"]}}
    put("tokenizer_json", "llama", dump(llama))
    names = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": True, "tokenizer_class": "LlamaTokenizer",
             "chat_template": [{"name": "default", "template": "{{ messages }}"}]}
    put("tokenizer_json", "config", dump(llama).encode() + b"\0" + dump(names).encode())
    put("tokenizer_json", "truncated-text", dump({**llama,
        "truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": 8, "pad_id": 0, "pad_type_id": 0,
                    "pad_token": "<unk>"}}))
    letters = {"\u0120": 0, "h": 1, "e": 2, "l": 3, "o": 4, "he": 5, "ll": 6}
    split = {"type": "Split", "pattern": {"Regex": r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    put("tokenizer_json", "byte-level", dump({
        "added_tokens": [special(7, "<|begin_of_text|>"), special(8, "hel", special=False, single_word=True, lstrip=True)],
        "normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "post_processor": {"type": "Sequence", "processors": [level, {**frame, "special_tokens": {"<s>": {"id": "<s>", "ids": [7], "tokens": ["x"]}}}]},
        "decoder": level, "model": {"type": "BPE", "ignore_merges": True, "vocab": letters, "merges": [["h", "e"], ["l", "l"]]}}))
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": True}
    put("tokenizer_json", "unigram", dump({
        "added_tokens": [], "normalizer": {"type": "NFKC"}, "pre_tokenizer": metaspace, "post_processor": None, "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": False,
                  "vocab": [["<unk>", 0.0], ["\u2581", -2.0], ["h", -3.0], ["he", -4.0], ["llo", -5.5], ["\u2581a", -1.0]]}}))
    small = {"added_tokens": [], "decoder": metaspace, "model": {"type": "BPE", "vocab": {"h": 0, "e": 1, "l": 2}, "merges": []}}
    tables = {
        "normalizer": [
            {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
            {"type": "Strip", "strip_left": True, "strip_right": False}, {"type": "StripAccents"}, {"type": "NFD"}, {"type": "NFC"},
            {"type": "NFKD"}, {"type": "Lowercase"}, {"type": "Nmt"}, {"type": "ByteLevel"},
            {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(struct.pack("<I", 4) + bytes(8)).decode()},
            {"type": "Replace", "pattern": {"Regex": "(l*)*"}, "content": "ll"}],
        "pre_tokenizer": [
            {"type": "BertPreTokenizer"}, {"type": "CharDelimiterSplit", "delimiter": "l"}, {"type": "Whitespace"},
            {"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "Contiguous"}, {"type": "Digits", "individual_digits": True},
            {"type": "UnicodeScripts"}, {"type": "FixedLength", "length": 2},
            {"type": "Split", "pattern": {"String": "l"}, "behavior": "MergedWithPrevious", "invert": True}],
        "post_processor": [
            {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1], "trim_offsets": True, "add_prefix_space": True},
            {"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1]}],
    }
    for part, values in tables.items():
        for item in values:
            put("tokenizer_json", "part-" + item["type"].lower(), dump({**small, part: item}))
    double = {"type": "Replace", "pattern": {"String": "l"}, "content": "ll"}
    deep = {"type": "Nonsense"}
    for _ in range(28):
        deep = {"type": "Sequence", "normalizers": [deep]}
    bomb = {"type": "Split", "pattern": {"Regex": "(?=a{999}{999})" * 9}, "behavior": "Isolated", "invert": False}
    for name, more in [("doubles", {"normalizer": {"type": "Sequence", "normalizers": [double] * 40}}),
                       ("byte-levels", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [level] * 30}}),
                       ("deep", {"normalizer": deep}), ("pattern-bomb", {"pre_tokenizer": bomb}),
                       ("no-length", {"pre_tokenizer": {"type": "FixedLength", "length": 0}})]:
        put("tokenizer_json", name, dump({**small, **more}))
    put("tokenizer_json", "gap", dump({**small, "model": {"type": "BPE", "vocab": {"a": 0, "b": 4000000000}, "merges": []}}))
    put("tokenizer_json", "merge", dump({**small, "model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}))
    put("tokenizer_json", "bare", "{")


# --- chat templates

TEMPLATES = {
    "llama2": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
              "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
              "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
              "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
              "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
              "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "llama3": "{{- bos_token }}{%- if not date_string is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}"
              "{%- for m in messages %}{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' }}{%- endfor %}"
              "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}",
    "macro": "{% macro f(x, y=1) %}[{{ x }}{{ y }}{{ caller() if caller }}]{% endmacro %}{{ f(eos_token) }}{% call f(2) %}x{% endcall %}",
    "namespace": "{% set ns = namespace(x=1) %}{% for m in messages if m.role != 'user' %}{% set ns.x = ns.x * 7 %}{% break %}{% endfor %}{{ ns.x }}",
    "filters": "{{ messages | map(attribute='role') | unique | join(', ') | upper | replace('U', 'u') }}{{ [3, 1] | sort(reverse=true) | tojson(indent=2) }}"
               "{{ messages | groupby('role') | list | length }}{{ 'a b' | title | indent(4) }}{{ 5 | float | round(1) }}{{ {'a': 1} | items | list }}",
    "methods": "{{ 'a,b'.split(',')[::-1] }}{{ ' x '.strip().center(9) }}{{ 'abc'.find('c') }}{{ {'a': 1}.items() | list }}{{ 'ab'.rjust(5, '-') }}{{ 'x'.isdigit() }}",
    "arithmetic": "{{ 7 // 2 }}{{ 7 % 3 }}{{ -7 // 2 }}{{ 2 ** 10 }}{{ 1 / 3 }}{{ 'a' * 3 }}{{ [1] * 3 }}{{ 1 ~ 2 }}{{ 'a' in 'abc' }}{{ 9223372036854775807 + 1 }}",
    "loops": "{% for a in range(0, 10, 3) recursive %}{{ loop(range(a)) if loop.depth < 3 else loop.cycle('x', 'y') }}{% continue %}{% else %}none{% endfor %}",
    "blocks": "{% filter upper %}{% raw %}{{ x }}{% endraw %}{% endfilter %}{# note #}{% with a=1 %}{{ a }}{% endwith %}{% set b %}c{% endset %}{{ b }}{% do range(3) %}",
    "hostile-range": "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "hostile-double": "{% set ns = namespace(x='aaaaaaaa') %}{% for a in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "hostile-repeat": "{{ 'a' * 99999999 * 99999999 }}{{ [1] * 999999999 }}",
    "hostile-recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "hostile-nesting": "{{ " + "(" * 300 + "1" + ")" * 300 + " }}",
    "hostile-lists": "{{ " + "[" * 200 + "]" * 200 + " }}",
    "hostile-format": "{{ '%99999999d' | format(1) }}{{ '%*d' | format(99999999, 1) }}",
    "hostile-width": "{{ 'a' | center(99999999) }}{{ 'a' | indent(99999999) }}{{ [1] | tojson(indent=99999999) }}",
    "hostile-slices": "{{ [1] | slice(99999999) | list }}{{ [1] | batch(99999999, 0) | list }}",
    "hostile-halves": "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson }}",
    "hostile-depth": "{% set ns = namespace(x=[1]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% endfor %}",
    "hostile-circle": "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
    "hostile-compare": "{% set x = [[1] * 99999999] %}{{ x == [[1] * 99999999] }}{{ 3 in [1] * 99999999 }}",
    "hostile-steps": "{% set x = range(90000) | list %}{% for i in x %}{{ [x] == [range(90000)] }}{% endfor %}",
    "include": "{% include '/etc/passwd' %}{% import 'x' as y %}{% extends 'z' %}",
}


def seeds_of_templates():
    for name, template in TEMPLATES.items():
        put("chat_template", name, template)


def main():
    for make in (seeds_of_safetensors, seeds_of_pytorch, seeds_of_gguf, seeds_of_configs, seeds_of_sentencepiece,
                 seeds_of_tokenizer_json, seeds_of_templates):
        make()
    sizes = {}
    for path in glob.glob(os.path.join(HERE, "*", "*")):
        target = os.path.basename(os.path.dirname(path))
        count, size = sizes.get(target, (0, 0))
        sizes[target] = (count + 1, size + os.path.getsize(path))
    for target, (count, size) in sorted(sizes.items()):
        print(f"{target}: {count} files, {size} bytes")
    print(f"{sum(size for _, size in sizes.values())} bytes in all")


if __name__ == "__main__":
    sys.exit(main())
