"""Makes the fixtures of this folder with sentencepiece and tokenizers: `python make.py` (pip install sentencepiece tokenizers).

tokenizer.model: a small BPE model with the settings of LLaMA's, trained on the lines below.
model.json: what sentencepiece makes of texts and of ids with it.
tiny_guanaco.json: what the tokenizers library makes of them with the embedded model's tokenizer.json; make it again after that
file was trained again.
"""
import io
import json
import os
import random

import sentencepiece
import tokenizers

HERE = os.path.dirname(os.path.abspath(__file__))
TINY = os.path.join(HERE, "..", "..", "..", "app", "tiny-guanaco", "tokenizer.json")

LINES = """The quick brown fox jumps over the lazy dog, and the dog sleeps on.
Hello, world! How are you today? I am fine, thank you.
Guten Tag, wie geht es Ihnen heute? Mir geht es gut, danke schön.
### Instruction: Answer the question. ### Input: User: Hello ### Response: Hello!
今天天气很好。你好，世界！今日はいい天気ですね。こんにちは、世界。
Numbers: 1 2 3 10 100 2023, 3.14 and 1,000,000.""".split("\n") * 20

TEXTS = [
    "", " ", "  ", "a", " a", "a ", "a  b", "   a", "Hello", "Hello, world!", " Hello", "  Hello  world ", "hello HELLO",
    "The quick brown fox jumps over the lazy dog.", "theatre", "\n", "a\nb", "a\n\n b\n", "\t", "a\tb", "\r\n",
    "### Instruction:\nAnswer.\n\n### Response:\n", "User: Hi\nAssistant: Hello</s>", "2023-11-23", "3.14159", "1,000,000",
    "Guten Tag, schöne Grüße", "ÄÖÜäöüß", "straße", "你好，世界！", "今天天气很好。", "今日はいい天気ですね。", "こんにちは", "𠮷野家", "🙂",
    "🙂🙃 a 👩‍👩‍👧", "e\u0301", "é", "\u00a0", "a\u3000b", "▁", "a▁b", "▁▁a", "</s>", "<s>", "<unk>", "a</s>b", "<0x0A>", "<0xE4>",
    "\u0000", "a\u0000b", "\ufeff", "\u202e", "ﬁ", "Ⅳ", "①", "def f(x):\n    return x + 1\n", "{\"a\": [1, 2]}", "x" * 50,
    " " * 33 + "x", "ll" * 20, "the the the", "thethethe", "Привет", "مرحبا", "שלום", "नमस्ते", "한국어", "中文 English 混合 Deutsch",
]


def visible(decode, ids):
    """The text that cannot change any more after each id: no U+FFFD at the end, as a later byte may complete it."""
    shown, chunks = "", []
    for end in range(1, len(ids) + 1):
        now = decode(ids[:end]).rstrip("\ufffd")
        # tokenizers prints one U+FFFD for each byte of a run that is not UTF-8 as a whole, its whole characters included.
        now = now if now.startswith(shown) else shown
        chunks.append(now[len(shown):])
        shown = now
    assert shown == decode(ids), (shown, ids)
    return chunks


def fixture(name, source, encode, decode, size, special, is_wanted=lambda ids: True):
    random.seed(7)
    cases = [{"text": text, "ids": encode(text), "decoded": decode(encode(text))} for text in TEXTS]
    only = ([random.randrange(size) for _ in range(random.randrange(1, 12))] for _ in range(400))
    only = [{"ids": ids, "decoded": decode(ids)} for ids in only if is_wanted(ids)][:40]
    # A text with U+FFFD of its own, or with bytes that stay unfinished, has no chunks that could be told from the outside.
    streams = [case for case in cases if case["ids"] and "\ufffd" not in case["decoded"]]
    streams = [{"ids": case["ids"], "chunks": visible(decode, case["ids"])} for case in streams]
    data = {"source": source, "vocab_size": size, "special": special, "cases": cases, "decode_only": only, "streams": streams}
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as file:
        json.dump(data, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")
    print(name, len(cases), len(only), len(streams))


def main():
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_writer=out, model_type="bpe", vocab_size=480, byte_fallback=True,
        character_coverage=0.98, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
        allow_whitespace_only_pieces=True, add_dummy_prefix=True, num_threads=1, minloglevel=2)
    with open(os.path.join(HERE, "tokenizer.model"), "wb") as file:
        file.write(out.getvalue())
    model = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    fixture("model.json", f"sentencepiece {sentencepiece.__version__}", model.encode, model.decode, model.vocab_size(),
            {"<unk>": model.unk_id(), "<s>": model.bos_id(), "</s>": model.eos_id()})

    tiny = tokenizers.Tokenizer.from_file(TINY)
    # What is spelled in a text is text, and control tokens say nothing.
    tiny.encode_special_tokens = True
    fixture("tiny_guanaco.json", f"tokenizers {tokenizers.__version__}",
            lambda text: tiny.encode(text, add_special_tokens=False).ids,
            lambda ids: tiny.decode(ids, skip_special_tokens=True), tiny.get_vocab_size(),
            {name: tiny.token_to_id(name) for name in ["<unk>", "<s>", "</s>"]},
            # Where tokenizers differs from sentencepiece, this project is like sentencepiece: the unknown token is printed, and
            # in a run of bytes that is no UTF-8 what is whole stays.
            is_wanted=lambda ids: tiny.token_to_id("<unk>") not in ids and "\ufffd" not in tiny.decode(ids))


main()
