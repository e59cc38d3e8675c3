"""Trains the tokenizer: LLaMA style BPE with byte fallback, 2048 tokens, written as a Hugging Face tokenizer.json.

Merges are learned inside chunks only, chosen so that names are easy to copy:
- "▁" never merges with a capital letter, so a name has the same tokens after a space and at the start of a line;
- Latin names fall into syllables, because a chunk never holds more than one syllable of a name;
- digits, punctuation and the characters of Chinese and Japanese names stay alone;
- a newline is not in the alphabet, so it is always its own byte token <0x0A>;
- the marks of the prompt ("### Instruction:", "User: ") are chunks, so each becomes one token.

    python tokenizer.py OUT_DIR
"""
import json
import re
import sys
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from dialogues import CODES, HANZI, KANA, NAME_CHARS, SKILLS, SURNAMES, SYLLABLES, Maker, turn_text

SIZE = 2048
MARKS = ["▁?### Instruction:", "### Input:", "### Response:", "System: ", "User: ", "Assistant: "]
CHUNK = re.compile("|".join(m.replace(" ", "▁") for m in MARKS) +
                   r"|▁?[a-zäöüß]+|[A-ZÄÖÜ][a-zäöüß]*|[\u3005-\u30ff\u4e00-\u9fff]+|.")


class Syllables(Maker):
    """Names with a chunk border after every syllable."""

    def latin(self):
        name = self.r.choice(SYLLABLES).capitalize() + "\0" + self.r.choice(SYLLABLES)
        return f"\0{name}\0"

    def split(self, make):
        return make()


def chunks(text):
    text = "▁" + text.replace(" ", "▁")
    for part in re.split("[\0\n]", text):
        for chunk in CHUNK.findall(part):
            if chunk[0] in NAME_CHARS or any(c in NAME_CHARS for c in chunk):
                yield from re.findall("[%s]|[^%s]+" % ("".join(NAME_CHARS), "".join(NAME_CHARS)), chunk)
            else:
                yield chunk


def corpus():
    for syllable in SYLLABLES:
        yield [syllable, syllable.capitalize()] * 1500
    m = Syllables(seed=7)
    for _ in range(150):
        for lang in CODES:
            for skill in SKILLS:
                g = m.make(lang, skill)
                yield list(chunks(g.prefix() + "".join(turn_text(q) + a + "\n" for q, a in g.turns)))


def build():
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Split("\0", "removed")
    letters = {chr(c) for c in range(33, 127)} | set("▁äöüÄÖÜß" + HANZI + SURNAMES + KANA)
    trainer = trainers.BpeTrainer(vocab_size=SIZE - 259, initial_alphabet=sorted(letters), min_frequency=2, show_progress=False)
    bpe.train_from_iterator(("\0".join(c) for c in corpus()), trainer)
    learned = json.loads(bpe.to_str())["model"]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    tokens += sorted(learned["vocab"], key=learned["vocab"].get)
    special = [dict(id=i, content=t, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
               for i, t in enumerate(tokens[:3])]
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
            "vocab": {t: i for i, t in enumerate(tokens)}, "merges": learned["merges"]},
    }


def check(tok):
    for text in ["Hello  world", " a", "a\n\nb \n", "你好，世界 😀🦙", "ドラゴン\tと한국어", "", "Größe: 42", "### Input:\nUser: x\n", "é ñ"]:
        got = tok.decode(tok.encode(text).ids)
        assert got == text, (text, got)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    data = build()
    (out / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")
    tok = Tokenizer.from_file(str(out / "tokenizer.json"))
    check(tok)
    print(tok.get_vocab_size(), "tokens")
    m = Maker(seed=5)
    for lang in CODES:
        g = m.make(lang, "system")
        print(lang, tok.encode(g.prefix() + turn_text(g.turns[0][0]) + g.turns[0][1]).tokens)
