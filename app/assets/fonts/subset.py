"""Cuts the window's fonts out of whole ones: ./make calls it.

Base: Han in the forms of mainland China, kana, punctuation, arrows. For Japan, Taiwan and Hong Kong a small font each with
the characters that are drawn otherwise there. Emoji and icons: what egui's optional fonts have, in one colour.
"""

import json
import pathlib
import sys

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTCollection, TTFont

here = pathlib.Path(__file__).resolve().parent
cjk, emoji, icons = sys.argv[1:]
FONTS = {"ja": "Noto Sans CJK JP", "base": "Noto Sans CJK SC", "zh-TW": "Noto Sans CJK TC", "zh-HK": "Noto Sans CJK HK"}


def level(encoding, rows):
    """The characters of the first level of a national standard."""
    found = set()
    for row in range(rows[0], rows[1] + 1):
        for cell in range(0x40, 0xFF):
            try:
                text = bytes([row, cell]).decode(encoding)
            except UnicodeDecodeError:
                continue
            found.update(map(ord, text))
    return found


def every(*ranges):
    return {code for first, last in ranges for code in range(first, last + 1)}


def texts():
    """What the interface says, and what its sources draw."""
    files = [*(here / "../../locales").glob("*/*.ftl"), *(here / "../../src/gui").rglob("*.rs")]
    return {ord(char) for file in files for char in file.read_text("utf-8") if ord(char) > 127}


def model():
    """What the embedded model can say."""
    vocabulary = json.loads((here / "../../tiny-guanaco/tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    return {ord(char) for token in vocabulary for char in token if ord(char) > 127}


gb = level("gb2312", (0xB0, 0xD7))
big5 = level("big5", (0xA4, 0xC6))
jis = level("euc_jp", (0xB0, 0xCF))
# General punctuation, arrows, mathematics, technical, boxes, shapes; CJK punctuation, kana, full and half width.
SIGNS = every((0x2010, 0x205E), (0x2190, 0x21FF), (0x2200, 0x22FF), (0x2300, 0x23CF), (0x2423, 0x2423), (0x2460, 0x24FF))
SIGNS |= every((0x2500, 0x25FF), (0x2600, 0x26FF), (0x3000, 0x30FF), (0x31F0, 0x31FF), (0xFF00, 0xFFEF))
own = texts() | model()
WANTED = gb | big5 | jis | SIGNS | own
LOCAL = {"ja": jis | own | SIGNS, "zh-TW": big5 | own | SIGNS, "zh-HK": big5 | own | SIGNS}


def write(font, codes, name):
    options = Options()
    options.layout_features = []
    options.hinting = False
    options.notdef_outline = True
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
    options.drop_tables += ["BASE", "GPOS", "GSUB", "VORG", "vhea", "vmtx", "DSIG", "GDEF"]
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=codes)
    subsetter.subset(font)
    # The time of making would make each run's file another.
    font["head"].modified = font["head"].created
    font.recalcTimestamp = False
    path = here / name
    font.save(path)
    print(f"{name}: {len(font.getBestCmap())} characters, {path.stat().st_size} bytes")


def open_cjk(family):
    return next(font for font in TTCollection(cjk, lazy=True).fonts if font["name"].getDebugName(1) == family)


base = open_cjk(FONTS["base"])
forms = base.getBestCmap()
write(base, WANTED & forms.keys(), "han.otf")
for locale, wanted in LOCAL.items():
    font = open_cjk(FONTS[locale])
    glyphs = font.getBestCmap()
    write(font, {code for code in wanted & glyphs.keys() if glyphs[code] != forms.get(code)}, f"han-{locale}.otf")

in_emoji = {code for code in TTFont(emoji).getBestCmap() if code > 0x2000}
write(TTFont(emoji), in_emoji, "emoji.ttf")
write(TTFont(icons), {code for code in TTFont(icons).getBestCmap() if 0x2000 < code and not 0xE000 <= code <= 0xF8FF} - in_emoji, "icons.ttf")
