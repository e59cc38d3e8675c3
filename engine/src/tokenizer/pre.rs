//! How byte-level vocabularies cut text before merging, by the names that GGUF files have (`tokenizer.ggml.pre`).
//!
//! The names are llama.cpp's (<https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp>). The rules are those of the
//! `tokenizer.json` that each name was made from, where llama.cpp has an approximation of it. A normalizer is not known from the
//! name: as in llama.cpp, there is none.

use serde_json::{Value, json};

/// A rule of cutting.
pub(super) struct Rule {
    names: &'static [&'static str],
    parts: &'static [Part],
    /// A stretch that is a token is that token, whatever the merges say.
    pub(super) ignores_merges: bool,
}

enum Part {
    /// Matches of an expression are stretches of their own.
    Split(&'static str),
    /// Each digit is a stretch of its own.
    Digits,
    /// Runs of digits are stretches of their own.
    Numbers,
    /// Runs of punctuation are stretches of their own.
    Punctuation,
    /// GPT-2's expression, on the letters for bytes.
    Gpt2,
}

/// Llama 3's (<https://github.com/meta-llama/llama3/blob/main/llama/tokenizer.py>).
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const DEEPSEEK_V3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const DEEPSEEK_LETTERS: &str = r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
const DEEPSEEK_IDEOGRAPHS: &str = "[一-龥ࠀ-一가-퟿]+";

const RULES: [Rule; 9] = [
    Rule {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "smaug-bpe",
            "dbrx",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "chatglm-bpe",
            "glm4",
        ],
        parts: &[Part::Split(LLAMA3)],
        ignores_merges: true,
    },
    Rule {
        names: &[
            "gpt-2",
            "phi-2",
            "jina-es",
            "jina-de",
            "jina-v1-en",
            "jina-v2-es",
            "jina-v2-de",
            "jina-v2-code",
            "roberta-bpe",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "mpt",
            "olmo",
            "jais",
            "trillion",
        ],
        parts: &[Part::Gpt2],
        ignores_merges: false,
    },
    Rule {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
        parts: &[Part::Digits, Part::Gpt2],
        ignores_merges: false,
    },
    Rule {
        names: &["deepseek-llm"],
        parts: &[
            Part::Split(r"[\r\n]"),
            Part::Split(DEEPSEEK_LETTERS),
            Part::Split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
            Part::Split(r"\s+$"),
            Part::Split(DEEPSEEK_IDEOGRAPHS),
            Part::Digits,
        ],
        ignores_merges: false,
    },
    Rule {
        names: &["deepseek-coder"],
        parts: &[
            Part::Split(r"[\r\n]"),
            Part::Split(r"\s?\p{L}+"),
            Part::Split(r"\s?\p{P}+"),
            Part::Split(DEEPSEEK_IDEOGRAPHS),
            Part::Digits,
        ],
        ignores_merges: false,
    },
    Rule {
        names: &["deepseek-v3", "hunyuan-dense"],
        parts: &[Part::Split(r"\p{N}{1,3}"), Part::Split("[一-龥぀-ゟ゠-ヿ]+"), Part::Split(DEEPSEEK_V3)],
        ignores_merges: false,
    },
    Rule {
        names: &["qwen2", "stablelm2", "deepseek-r1-qwen", "kormo", "megrez", "hunyuan"],
        parts: &[Part::Split(QWEN2)],
        ignores_merges: false,
    },
    Rule { names: &["tekken"], parts: &[Part::Split(TEKKEN)], ignores_merges: true },
    Rule { names: &["gpt-4o", "llama4"], parts: &[Part::Split(GPT4O)], ignores_merges: false },
];

/// Falcon's own; its numbers are cut by threes in what the expression before left whole.
const FALCON: Rule = Rule {
    names: &["falcon"],
    parts: &[Part::Punctuation, Part::Gpt2, Part::Numbers, Part::Split("[0-9][0-9][0-9]")],
    ignores_merges: false,
};

/// What llama.cpp does without a name, with a warning.
const DEFAULT: Rule = Rule {
    names: &["default"],
    parts: &[
        Part::Split(r"[\p{P}\$\+<=>\^~\|]+"),
        Part::Split(GPT2),
        Part::Split(r"\p{N}+"),
        Part::Split("[0-9][0-9][0-9]"),
    ],
    ignores_merges: false,
};

/// The rule of `name`, and what to say where it is a guess.
///
/// # Errors
/// The known names, where this one is not among them.
pub(super) fn rule(name: Option<&str>) -> Result<(&'static Rule, Option<String>), String> {
    let Some(name) = name.filter(|name| *name != "default") else {
        let what = name.map_or("does not say", |_| "says only `default`");
        return Ok((
            &DEFAULT,
            Some(format!(
                "the file {what} in tokenizer.ggml.pre how text is cut before merging: llama.cpp's default rules are used, and the \
                 ids may differ from those that the model was trained with; a newer conversion says it"
            )),
        ));
    };
    let known = || RULES.iter().chain([&FALCON]);
    if let Some(rule) = known().find(|rule| rule.names.contains(&name)) {
        return Ok((rule, None));
    }
    let names: Vec<&str> = known().flat_map(|rule| rule.names).copied().collect();
    let name: String = name.chars().take(40).collect();
    Err(format!("{name:?} is not supported: text would be cut by other rules; known are {}", names.join(", ")))
}

impl Rule {
    /// The `pre_tokenizer` of a `tokenizer.json`.
    pub(super) fn json(&self) -> Value {
        let byte_level = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
        let mut parts: Vec<Value> = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Split(expression) => {
                    json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false})
                }
                Part::Digits => json!({"type": "Digits", "individual_digits": true}),
                Part::Numbers => json!({"type": "Digits", "individual_digits": false}),
                Part::Punctuation => json!({"type": "Punctuation", "behavior": "Contiguous"}),
                Part::Gpt2 => byte_level(true),
            })
            .collect();
        if !self.parts.iter().any(|part| matches!(part, Part::Gpt2)) {
            parts.push(byte_level(false));
        }
        json!({"type": "Sequence", "pretokenizers": parts})
    }
}
