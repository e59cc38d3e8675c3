//! The words in a card that stand for others: `{{char}}`, `<USER>`, `{{random:a,b}}`.
//!
//! A text is gone through once: what is put in is never expanded again, so that no name can smuggle a macro in. A macro may stand
//! in the argument of another. What looks like a macro but is not known stays as it is.

use super::limits;

/// What the macros stand for. All is decided by these values: the same text gives the same result.
#[derive(Debug, Clone, Copy, Default)]
pub struct Values<'a> {
    /// The character: its nickname, or else its name.
    pub char: &'a str,
    /// The person.
    pub user: &'a str,
    /// What `{{original}}` stands for.
    pub original: &'a str,
    /// What random choices follow from.
    pub seed: u64,
    /// The text is looked through for a lorebook's keys: `{{hidden_key:…}}` shows its argument.
    pub scan: bool,
}

/// How deep macros may stand in one another.
const DEPTH: usize = 16;
/// The bytes of the longest macro's name, `hidden_key`.
const NAME_BYTES: usize = 10;

impl Values<'_> {
    /// `text` with its macros expanded.
    pub fn expand(&self, text: &str) -> String {
        if !text.contains(['{', '<']) {
            return text.to_owned();
        }
        let pairs = pairs(text);
        let mut out = String::with_capacity(text.len());
        let mut expander = Expander { values: self, text, pairs, ordinal: 0, left: limits::EXPANDED_BYTES };
        expander.expand(0, text.len(), 0, &mut out);
        out
    }
}

/// Where each `{{` of `text` stands, in order, and its `}}`: none is at 0.
fn pairs(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let (mut open, mut found) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"{{" => {
                open.push(found.len());
                found.push((at, 0));
            }
            b"}}" => {
                if let Some(pair) = open.pop().and_then(|index| found.get_mut(index)) {
                    pair.1 = at;
                }
            }
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
    }
    found
}

struct Expander<'a> {
    values: &'a Values<'a>,
    text: &'a str,
    pairs: Vec<(usize, usize)>,
    /// How many random choices there were, so that each is one of its own.
    ordinal: u64,
    /// How many bytes may still be put in for macros.
    left: usize,
}

impl Expander<'_> {
    /// Where the `{{` at `start` has its `}}`, when that is in front of `end`.
    fn close(&self, start: usize, end: usize) -> Option<usize> {
        let index = self.pairs.binary_search_by_key(&start, |pair| pair.0).ok()?;
        let close = self.pairs[index].1;
        (close > start && close + 2 <= end).then_some(close)
    }

    /// Appends a value, or nothing when too much was put in already: a short macro can stand for a long name.
    fn put(&mut self, value: &str, out: &mut String) {
        if let Some(left) = self.left.checked_sub(value.len()) {
            self.left = left;
            out.push_str(value);
        }
    }

    /// Appends what `text[start..end]` stands for.
    fn expand(&mut self, start: usize, end: usize, depth: usize, out: &mut String) {
        let text = self.text;
        let mut at = start;
        while let Some(next) = text[at..end].find(['{', '<']).map(|next| at + next) {
            out.push_str(&text[at..next]);
            at = match text.as_bytes()[next] {
                b'<' => self.tag(next, end, out),
                _ => self.braces(next, end, depth, out),
            };
        }
        out.push_str(&text[at..end]);
    }

    /// `<USER>` and its kin; returns where to go on.
    fn tag(&mut self, start: usize, end: usize, out: &mut String) -> usize {
        for (tag, value) in [("<user>", self.values.user), ("<bot>", self.values.char), ("<char>", self.values.char)] {
            let stop = start + tag.len();
            if stop <= end && self.text.as_bytes()[start..stop].eq_ignore_ascii_case(tag.as_bytes()) {
                self.put(value, out);
                return stop;
            }
        }
        out.push('<');
        start + 1
    }

    /// `{{…}}`; returns where to go on.
    fn braces(&mut self, start: usize, end: usize, depth: usize, out: &mut String) -> usize {
        match self.close(start, end) {
            Some(close) if depth < DEPTH && self.call(start + 2, close, depth, out) => close + 2,
            // Not known: both braces stay, and what is behind them is looked at.
            Some(_) => {
                out.push_str("{{");
                start + 2
            }
            None => {
                out.push('{');
                start + 1
            }
        }
    }

    /// The macro between two pairs of braces; false when it is not known.
    fn call(&mut self, start: usize, end: usize, depth: usize, out: &mut String) -> bool {
        let inner = &self.text[start..end];
        let head = inner.trim_start();
        if head.starts_with("//") {
            return true;
        }
        // Only as far as a name can reach: what is not known is not gone through for each pair of braces around it.
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let (name, rest) = head.split_at(head.bytes().take(NAME_BYTES + 1).take_while(is_name).count());
        let (name, rest) = (name.to_ascii_lowercase(), rest.trim_start());
        if rest.is_empty() {
            let value = match name.as_str() {
                "char" | "bot" => self.values.char,
                "user" => self.values.user,
                "original" => self.values.original,
                _ => return false,
            };
            self.put(value, out);
            return true;
        }
        let Some(rest) = rest.strip_prefix(':') else { return false };
        let argument = end - rest.len();
        match name.as_str() {
            "comment" => {}
            "hidden_key" => {
                if self.values.scan {
                    self.expand(argument, end, depth + 1, out);
                }
            }
            "reverse" => {
                let mut forward = String::new();
                self.expand(argument, end, depth + 1, &mut forward);
                out.extend(forward.chars().rev());
            }
            "random" => {
                self.ordinal += 1;
                let choice = mix(self.values.seed ^ mix(self.ordinal));
                self.choose(argument, end, choice, depth, out);
            }
            "pick" => {
                let choice = mix(self.values.seed ^ hash(inner));
                self.choose(argument, end, choice, depth, out);
            }
            "roll" => {
                let sides = self.text[argument..end].trim().trim_start_matches(['d', 'D']);
                let Some(sides) = sides.parse::<u64>().ok().filter(|&sides| sides > 0) else { return false };
                self.ordinal += 1;
                out.push_str(&(mix(self.values.seed ^ mix(self.ordinal)) % sides + 1).to_string());
            }
            _ => return false,
        }
        true
    }

    /// One of the alternatives between commas (or `::`, as some cards have it).
    fn choose(&mut self, start: usize, end: usize, choice: u64, depth: usize, out: &mut String) {
        let start = if self.text[start..end].starts_with(':') { start + 1 } else { start };
        let parts = self.split(start, end);
        let (from, to) = parts[(choice % parts.len() as u64) as usize];
        let before = out.len();
        self.expand(from, to, depth + 1, out);
        // `\,` is a comma that divides nothing; only the card's own text can have one here.
        if self.text[from..to].contains("\\,") {
            let part = out.split_off(before).replace("\\,", ",");
            out.push_str(&part);
        }
    }

    /// The stretches of alternatives; there is always one. What stands in inner braces divides nothing.
    fn split(&self, start: usize, end: usize) -> Vec<(usize, usize)> {
        let bytes = self.text.as_bytes();
        let by_colons = self.text[start..end].contains("::");
        let (mut parts, mut from, mut at) = (Vec::new(), start, start);
        while at < end {
            match bytes[at] {
                b'\\' => at += 1,
                b'{' => {
                    if let Some(close) = self.close(at, end) {
                        at = close + 1;
                    }
                }
                b',' if !by_colons => {
                    parts.push((from, at));
                    from = at + 1;
                }
                b':' if by_colons && bytes.get(at + 1) == Some(&b':') && at + 1 < end => {
                    parts.push((from, at));
                    from = at + 2;
                    at += 1;
                }
                _ => {}
            }
            at += 1;
        }
        parts.push((from, end));
        parts
    }
}

/// SplitMix64's finish (Sebastiano Vigna): every bit of the result hangs on every bit of `x`.
pub(super) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// FNV-1a (Fowler, Noll and Vo).
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values<'static> = Values { char: "Ava", user: "Bo", original: "old", seed: 7, scan: false };

    #[test]
    fn names() {
        for (text, expected) in [
            ("{{char}} meets {{USER}}", "Ava meets Bo"),
            ("<BOT> <bot> <User> <char>", "Ava Ava Bo Ava"),
            ("{{ Char }}{{original}}", "Avaold"),
            ("{{// gone {{user}} }}x{{comment: y}}{{hidden_key:z}}", "x"),
            ("{{reverse:ab{{user}}}}", "oBba"),
            ("{{unknown}} {{unknown:{{user}}}}", "{{unknown}} {{unknown:Bo}}"),
            ("{{{user}}}", "{{{user}}}"),
            ("{{user}} }} {{ {{user}", "Bo }} {{ {{user}"),
            ("<b>{x}</b> <", "<b>{x}</b> <"),
            ("ü{{user}}ü", "üBoü"),
            ("{{user:}}{{char }}{{ random : x }}", "{{user:}}Ava x "),
            ("{{users}}{{use}}{{ü}}{{}}{{:}}", "{{users}}{{use}}{{ü}}{{}}{{:}}"),
            ("{{reverse_more}}{{hidden_keys:a}}", "{{reverse_more}}{{hidden_keys:a}}"),
        ] {
            assert_eq!(VALUES.expand(text), expected, "{text}");
        }
        assert_eq!(Values { scan: true, ..VALUES }.expand("a{{hidden_key:b{{user}}}}{{comment:c}}"), "abBo");
    }

    #[test]
    fn what_is_put_in_is_not_expanded() {
        let values = Values { char: "{{user}}", user: "{{char}}<BOT>", ..VALUES };
        assert_eq!(values.expand("{{char}} {{user}} {{random:{{user}}}}"), "{{user}} {{char}}<BOT> {{char}}<BOT>");
    }

    #[test]
    fn chance_is_decided_by_the_seed() {
        let text = "{{random:a,b,c\\,d}} {{random::e::f,g}} {{pick:h,{{random:i,j}}}} {{roll:d6}} {{roll:20}}";
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let values = Values { seed, ..VALUES };
            let result = values.expand(text);
            assert_eq!(result, values.expand(text));
            let words: Vec<_> = result.split(' ').collect();
            assert!(["a", "b", "c,d"].contains(&words[0]), "{result}");
            assert!(["e", "f,g"].contains(&words[1]), "{result}");
            assert!(["h", "i", "j"].contains(&words[2]), "{result}");
            assert!((1..=6).contains(&words[3].parse().unwrap()) && (1..=20).contains(&words[4].parse().unwrap()));
            seen.insert(result);
        }
        assert!(seen.len() > 100, "{}", seen.len());
        // A pick is the same wherever it stands; two random ones are not.
        let many = |text: &str| Values { seed: 3, ..VALUES }.expand(&text.repeat(40));
        assert_eq!(many("{{pick:a,b}}").replace('a', "").len() % 40, 0);
        let random = many("{{random:a,b}}");
        assert!(random.contains('a') && random.contains('b'));
        assert_eq!(VALUES.expand("{{roll:0}}{{roll:x}}"), "{{roll:0}}{{roll:x}}");
    }

    /// 1 MiB each: balanced or not, known or not, with and without a colon somewhere.
    #[test]
    fn hostile_nesting_ends() {
        let around = |open: &str, close: &str| {
            let n = (1 << 20) / (open.len() + close.len());
            open.repeat(n) + ":" + &close.repeat(n)
        };
        for text in [
            "{{".repeat(500_000) + &"}}".repeat(500_000),
            around("{{", "}}"),
            around("{{ ", " }}"),
            around("{{x", "}}"),
            around("{{x:", "}}"),
            around("{{roll:", "}}"),
            around("{{random:", ",}}"),
            around("{{pick:{{", "}},}}"),
            around("{{reverse:{{x", "}}}}"),
            around("{{hidden_key", "}}"),
            around("{{ \u{3000}", ""),
            around("<", ""),
            around("{", "}"),
        ] {
            let begun = std::time::Instant::now();
            VALUES.expand(&text);
            Values { scan: true, ..VALUES }.expand(&text);
            assert!(begun.elapsed().as_secs() < 4, "{:?} for {:?}", begun.elapsed(), text.chars().take(20));
        }
    }

    #[test]
    fn a_long_name_does_not_multiply() {
        let name = "ü".repeat(512);
        let text = Values { char: &name, ..VALUES }.expand(&"<bot>{{char}}".repeat(80_000));
        assert!((1 << 20..=limits::EXPANDED_BYTES).contains(&text.len()), "{}", text.len());
    }
}
