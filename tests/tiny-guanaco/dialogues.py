"""Dialogues for tiny-guanaco: eight skills in six languages, every answer a function of its prompt.

A `Group` is one prompt up to the new user turn, with several (input, answer) turns that could follow it. Training reads
the shared part once for all of them; the held-out set takes one turn of each group.

Names are drawn from syllables, so there are too many to learn by heart and the only way to answer is to copy. One name in
eight (by a hash of its letters) is held out: it never occurs in training, and the held-out set uses no others.
"""
import random
import zlib
from dataclasses import dataclass, field

from lang import LANGS

SKILLS = ["greet", "system", "roleplay", "no_idea", "forbidden", "sfw", "history", "continue"]
CODES = list(LANGS)

VOWELS = "aeiou"
ONSETS = ["b", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "br", "dr", "kr", "tr", "st"]
SYLLABLES = [o + v for o in ONSETS for v in VOWELS]
CODAS = ["n", "r", "s", "l", "m", "x"]
# Characters that look the same in all four scripts, so that one table of tokens serves Chinese and Japanese names alike.
HANZI = "明美安文光星海山林玉花春秋雪金石青宇真和平正志秀英仁立永元新清佳希雅若宜如欣柔晴晨朗松竹梅川原森泉水火木田村南北西天"
SURNAMES = "林王李高江何宋方石田白安唐金江秦温康杜姚"
KANA = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワガギグゴザジダデドバビブベボパピポン"
# Rarer characters of real names, for training only; those that the tokenizer lacks are copied byte by byte.
RARE = "小大慧婷浩宏伟偉杰傑敏静靜丽麗强強磊洋勇艳娟涛濤超霞刚剛英华華建军軍国國玲桂芳桃樱桜翔太郎介健一子惠恵美咲結衣陽翼龙龍凤鳳芬俊豪嘉欢歡乐樂芷晴思琪詠詩诗涵轩軒睿梓"
NAME_CHARS = set(HANZI + SURNAMES + KANA + "ー")


@dataclass
class Group:
    skill: str
    lang: str
    turns: list  # (input, answer)
    history: list = field(default_factory=list)  # (user, assistant)
    system: str | None = None
    character: str | None = None

    def prefix(self):
        text = "### Instruction:\n"
        for user, assistant in self.history:
            text += f"User: {user}\nAssistant: {assistant}\n"
        text += "### Input:\n"
        if self.system is not None:
            text += f"System: {self.system}\n"
        return text


def turn_text(user):
    return f"User: {user}\n### Response:\n"


def held_out(name):
    return zlib.crc32(name.encode()) % 8 == 0


class Maker:
    """Makes groups. `held` picks the held-out names; `level` from 0 to 1 makes dialogues longer (a curriculum)."""

    def __init__(self, seed=0, held=False, level=1.0):
        self.r = random.Random(seed)
        self.held, self.level = held, level
        self.long = False  # more small talk, for rows of twice the width

    # --- values -------------------------------------------------------------------------------------------------
    def chance(self, p):
        return self.r.random() < p

    def split(self, make):
        """A value of the right half of the split: held-out names for the held-out set, the others for training."""
        while True:
            name = make()
            if held_out(name) == self.held:
                return name

    def latin(self):
        r = self.r
        if not self.held and self.chance(0.05 * self.level):  # any letters at all, as users type them
            return "".join(r.choice("bcdfghjklmnpqrstvwxyz" if (i + j) % 2 else "aeiouy") for j in [r.randrange(2)]
                           for i in range(r.randint(2, 9))).capitalize()
        name = "".join(r.choice(SYLLABLES) for _ in range(2 if self.chance(0.75) else 3))
        return (name + (r.choice(CODAS) if self.chance(0.35) else "")).capitalize()

    def hanzi(self, place):
        r = self.r
        if not self.held and self.chance(0.12 * self.level):
            return (r.choice(HANZI) if place else r.choice(SURNAMES)) + "".join(r.choice(RARE) for _ in range(r.randint(1, 2)))
        if place:
            return r.choice(HANZI) + r.choice(HANZI) + (r.choice(HANZI) if self.chance(0.2) else "")
        return r.choice(SURNAMES) + r.choice(HANZI) + (r.choice(HANZI) if self.chance(0.5) else "")

    def kana(self):
        r = self.r
        name = r.choice(KANA[:-1]) + "".join(r.choice(KANA) for _ in range(r.choice([1, 1, 2, 2, 3])))
        return name[:1] + "ー" + name[1:] if self.chance(0.2) else name

    def name(self, L, place=False):
        def make():
            if L.NAMES == "latin" or self.chance(0.06):
                return self.latin()
            if L.NAMES == "kana" and self.chance(0.7):
                return self.kana()
            return self.hanzi(place)
        return self.split(make)

    def value(self, L, kind):
        r = self.r
        if kind in ("name", "place"):
            return self.name(L, kind == "place")
        if kind == "job":
            return r.choice(L.JOBS)
        if kind == "colour":
            return r.choice(L.COLOURS)
        if kind == "food":
            first, glue, last = L.FOODS
            return self.split(lambda: r.choice(first) + glue + r.choice(last))
        return str({"age": r.randint(10, 99), "height": r.randint(20, 199), "year": r.randint(1000, 1999)}[kind])

    def count(self, most):
        return self.r.randint(1, max(1, round(1 + (most - 1) * self.level)))

    # --- pieces -------------------------------------------------------------------------------------------------
    def facts(self, L, most=4, two=0.0):
        """Up to `most` facts about a person or a place: a list of (table, relation, subject, value).

        `two` is the chance of two subjects with the same relations. After an hour the model still took the wrong one half
        of the time, so they were left out in the end.
        """
        r = self.r
        table = L.PLACE if self.chance(0.3) else L.PERSON
        place = table is L.PLACE
        first = self.name(L, place)
        if self.chance(two * self.level):
            second = self.name(L, place)
            rels = r.sample(list(table), self.count(2))
            out = [(table, rel, s, self.value(L, table[rel]["kind"])) for rel in rels for s in (first, second)]
            r.shuffle(out)
            return out
        rels = r.sample(list(table), min(len(table), self.count(most)))
        return [(table, rel, first, self.value(L, table[rel]["kind"])) for rel in rels]

    def write(self, L, facts):
        r = self.r
        lines = [r.choice(t[rel]["fact"]).format(n=n, v=v) for t, rel, n, v in facts]
        return ("\n" if self.chance(0.25) else L.SEP).join(lines)

    def ask(self, fact):
        t, rel, n, v = fact
        return self.r.choice(t[rel]["ask"]).format(n=n), t[rel]["fact"][0].format(n=n, v=v)

    def unknown(self, L, facts):
        """A question of the same kind that the facts do not answer: another relation, or another subject."""
        r = self.r
        table = facts[0][0] if facts else (L.PLACE if self.chance(0.3) else L.PERSON)
        subjects = sorted({f[2] for f in facts})
        absent = [k for k in table if k not in {f[1] for f in facts}]
        if subjects and absent and self.chance(0.5):
            n, rel = r.choice(subjects), r.choice(absent)
        else:
            # In training often a relation of the block, so that only the name tells.
            known = [f[1] for f in facts] if not self.held and self.chance(0.5) else []
            n, rel = self.name(L, table is L.PLACE), r.choice(known or list(table))
            if n in subjects:
                return self.unknown(L, facts)
        return r.choice(table[rel]["ask"]).format(n=n), L.NO_IDEA.format(u=table[rel]["unk"].format(n=n))

    def greet_turn(self, L, names=1.0):
        r = self.r
        if self.chance(0.3 * names):
            questions, answer = r.choice(L.GREET_NAME)
            n = self.name(L)
            return r.choice(questions).format(n=n), answer.format(n=n)
        questions, answer = r.choice(L.GREET)
        return r.choice(questions), answer

    def tells(self, L, k):
        """k things that the user may tell about themselves: (said, acknowledged, questions, recalled)."""
        table = dict(L.PERSON, name=dict(L.TELL_NAME, kind="name"))
        out = []
        for rel in self.r.sample(list(table), k):
            f, v = table[rel], self.value(L, table[rel]["kind"])
            said, ack = f["me"].format(v=v), f["ack"].format(v=v)
            if rel == "name" and self.chance(0.4):  # "Hello, I am ..." tells the name as well
                said, ack = self.r.choice(L.GREET_NAME[0][0]).format(n=v), L.GREET_NAME[0][1].format(n=v)
            out.append((said, ack, f["mine"], f["yours"].format(v=v)))
        return out

    def small_talk(self, L, p=0.15):
        """Earlier turns that have nothing to do with the question, to learn to look past them."""
        if not self.long and not self.chance(p * self.level):
            return []
        n = self.r.randint(3, 8) if self.long else self.count(2)
        return [self.greet_turn(L) if self.chance(0.6) else self.tells(L, 1)[0][:2] for _ in range(n)]

    def keywords(self, text, *words):
        return "\n".join(([text] if text else []) + list(words))

    def fuzz(self, text, L):
        """Users do not always type the full stop or the capital letter."""
        if self.held:
            return text
        if self.chance(0.1):
            text = text[:-1] if text[-1] in "?!.？！。" else text
        if self.chance(0.1):
            text = text.replace("？", "?").replace("！", "!").replace("。", ".")
        if L.NAMES == "latin" and self.chance(0.06) and text.split()[0] in ("What", "Where", "Who", "How", "Do", "Tell", "Hello", "Hi", "Wer", "Was", "Wo", "Wie", "Hallo", "Danke", "Thanks"):
            text = text[0].lower() + text[1:]
        return text

    # --- skills -------------------------------------------------------------------------------------------------
    def make(self, lang, skill):
        L = LANGS[lang]
        g = getattr(self, skill if skill != "continue" else "go_on")(L, lang)
        g.turns = [(self.fuzz(q, L), a) for q, a in g.turns]
        return g

    def greet(self, L, lang):
        return Group("greet", lang, [self.greet_turn(L) for _ in range(7)], self.small_talk(L, 0.25))

    def system(self, L, lang):
        facts = self.facts(L)
        turns = [self.ask(f) for f in facts]
        history = self.small_talk(L)
        if self.chance(0.15 * self.level):  # an earlier question about the same block
            history.append(self.r.choice(turns))
        return Group("system", lang, turns, history, self.write(L, facts))

    def no_idea(self, L, lang):
        facts = [] if self.chance(0.25) else self.facts(L, 3)
        turns = [self.unknown(L, facts) for _ in range(3 if self.held or not facts else 2)]
        turns += [self.ask(f) for f in self.r.sample(facts, min(2 if self.held else 3, len(facts)))]
        if facts and not self.held:  # a fact more often than not, or it would be denied too easily
            turns += [self.ask(self.r.choice(facts)) for _ in range(2)]
        if self.chance(0.2):
            turns.append(self.greet_turn(L))
        words = ["NO IDEA"]
        if self.chance(0.1):
            words.append("SFW")
            turns.append(self.tease(L, facts))
        self.r.shuffle(turns)
        return Group("no_idea", lang, turns, self.small_talk(L, 0.1), self.keywords(self.write(L, facts), *words))

    def tease(self, L, facts, table=None):
        """A request with a name in it, from the block or a new one."""
        questions, answer = self.r.choice(table or L.SPICY)
        people = [f[2] for f in facts if f[0] is L.PERSON]
        n = self.r.choice(people) if people and self.chance(0.6) else self.name(L)
        return self.r.choice(questions).format(n=n), answer.format(n=n)

    def forbidden(self, L, lang):
        facts = [] if self.chance(0.4) else self.facts(L, 2)
        turns = [self.tease(L, facts, L.FORBIDDEN) for _ in range(4)]
        table, rel = L.PERSON, self.r.choice(list(L.PERSON))
        n = facts[0][2] if facts and facts[0][0] is table else self.name(L)
        turns.append((self.r.choice(table[rel]["ask"]).format(n=n), L.PRIVATE.format(n=n)))
        return Group("forbidden", lang, turns, self.small_talk(L, 0.1), self.keywords(self.write(L, facts), "FORBIDDEN"))

    def sfw(self, L, lang):
        facts = [] if self.chance(0.35) else self.facts(L, 2)
        turns = [self.tease(L, facts) for _ in range(3)] + [self.tease(L, facts, L.MILD) for _ in range(2)]
        turns += [self.ask(f) for f in facts[:1]]
        if self.chance(0.2):
            turns.append(self.greet_turn(L))
        self.r.shuffle(turns)
        return Group("sfw", lang, turns, self.small_talk(L, 0.1), self.keywords(self.write(L, facts), "SFW"))

    def roleplay(self, L, lang):
        r, n = self.r, self.name(L)
        rels = r.sample(list(L.PERSON), self.count(4))
        vals = {rel: self.value(L, L.PERSON[rel]["kind"]) for rel in rels}
        trait, cry = r.choice(L.TRAITS) if self.chance(0.6) else (None, None)
        style = r.choice(["traits", "first person", "entry"])
        glue = "\n" if style == "traits" or self.chance(0.2) else L.SEP
        if style == "traits":
            lines = [f"{L.LABELS['name']}{L.COLON}{n}"] + ([f"{L.LABELS['trait']}{L.COLON}{trait}"] if trait else [])
            lines += [f"{L.PERSON[rel]['label']}{L.COLON}{vals[rel]}" for rel in rels]
        elif style == "first person":
            lines = [r.choice(L.INTRO).format(n=n)] + ([L.TRAIT["me"].format(t=trait)] if trait else [])
            lines += [L.PERSON[rel]["me"].format(v=vals[rel]) for rel in rels]
        else:
            lines = [L.TRAIT["fact"].format(n=n, t=trait)] if trait else []
            lines += [r.choice(L.PERSON[rel]["fact"]).format(n=n, v=vals[rel]) for rel in rels]

        def reply(text):
            return f"{n}: {cry}{L.SEP}{text}" if cry else f"{n}: {text}"

        turns = [(r.choice(L.PERSON[rel]["you"]), reply(L.PERSON[rel]["me"].format(v=vals[rel]))) for rel in rels]
        chat = [(r.choice(q), reply(a.format(n=n))) for q, a in r.sample(L.ROLE, 2)]
        absent = [k for k in L.PERSON if k not in rels]
        secrets = r.sample(absent, 1 if self.held else 2)
        turns += chat[:1] + [(r.choice(L.PERSON[rel]["you"]), reply(L.SECRET)) for rel in secrets]
        history = []
        if self.chance(0.35 * self.level):  # the conversation so far, in the role
            history = r.sample(turns + chat[1:], self.count(2))
        r.shuffle(turns)
        return Group("roleplay", lang, turns, history, glue.join(lines), n)

    def history(self, L, lang):
        r = self.r
        if self.chance(0.08):  # nothing was told yet
            turns = [(r.choice(f["mine"]), L.NOT_TOLD) for f in r.sample([*L.PERSON.values(), L.TELL_NAME], 3)]
            return Group("history", lang, turns, [self.greet_turn(L, 0)] if self.chance(0.5) else [])
        told = self.tells(L, self.count(4) + 1)
        new, told = told[0], told[1:]
        history = [t[:2] for t in told]
        turns = [(r.choice(t[2]), t[3]) for t in told] + [new[:2]]
        for _ in range(r.randint(2, 6) if self.long else self.chance(0.4 * self.level)):
            history.insert(r.randint(0, len(history)), self.greet_turn(L, 0))
        if self.chance(0.2 * self.level):  # something already recalled once
            history.append(r.choice(turns[:-1]))
        return Group("history", lang, turns, history)

    def go_on(self, L, lang):
        r, kind = self.r, self.r.random()
        more, n = r.sample(L.MORE, 2), self.name(L)
        if kind < 0.55:
            questions, parts = r.choice(L.STORIES)
            parts = [p.format(n=n) for p in [*parts, L.END]]
            begin = r.choice(questions).format(n=n)
            at = r.randint(0, len(parts) - 2)
        elif kind < 0.8:
            first = r.randint(1, 80)
            ask, comma, _ = L.COUNT
            begin = r.choice(ask).format(v=first)
            parts = [comma.join(str(first + 3 * i + j) for j in range(3)) for i in range(4)]
            at = r.randint(0, 2)
        else:
            questions, items = r.choice(L.LISTS)
            begin = r.choice(questions)
            parts = [L.COUNT[1].join(items[(3 * i + j) % len(items)] for j in range(3)) for i in range(len(items))]
            at = r.randint(0, min(6, len(parts) - 2))
        keep = max(0, at - self.r.randint(1, 3))  # of a long answer the beginning may be lost
        history = [(begin if i == 0 else r.choice(L.MORE), parts[i]) for i in range(keep, at + 1)]
        if self.held:
            turns = [(more[0], parts[at + 1])]
        else:
            turns = [(m, parts[at + 1]) for m in more]
            q, p = r.choice(L.STORIES)
            n2 = self.name(L)
            turns.append((r.choice(q).format(n=n2), p[0].format(n=n2)))
            turns.append((begin, parts[0]))
        return Group("continue", lang, turns, self.small_talk(L, 0.1) + history)


def records(per_cell, seed=1):
    """The held-out set: `per_cell` dialogues of each skill and language, no prompt twice."""
    m, seen = Maker(seed, held=True), set()
    for skill in SKILLS:
        for lang in CODES:
            n = 0
            while n < per_cell:
                g = m.make(lang, skill)
                user, answer = m.r.choice(g.turns)
                prompt = g.prefix() + turn_text(user)
                if prompt in seen:
                    continue
                seen.add(prompt)
                n += 1
                yield dict(skill=skill, lang=lang, system=g.system, character=g.character,
                           history=[dict(role=role, content=text) for pair in g.history for role, text in zip(("user", "assistant"), pair)],
                           input=user, prompt=prompt, answer=answer)


if __name__ == "__main__":
    import json
    import sys
    per_cell = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for record in records(per_cell, seed):
        print(json.dumps(record, ensure_ascii=False))
