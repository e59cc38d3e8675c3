"""The words of the six languages. Each module holds the same tables; `../dialogues.py` says how they are used.

{n} is the person or place a sentence is about, {v} the value of the fact, {p} a place, {t} a trait, {u} a clause.
The first entry of a list is the form that answers use; the others only widen what is understood.
"""
from . import de, en, ja, zh_cn, zh_hk, zh_tw

LANGS = {"en": en, "zh-CN": zh_cn, "zh-TW": zh_tw, "zh-HK": zh_hk, "ja": ja, "de": de}
