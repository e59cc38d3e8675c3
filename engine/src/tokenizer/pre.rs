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
/// Letters with case, as that file lists them; without escapes some would not survive a normalized source file.
const DEEPSEEK_LETTERS: &str = "\\s?[A-Za-z\u{B5}\u{C0}-\u{D6}\u{D8}-\u{F6}\u{F8}-\u{1BA}\u{1BC}-\u{1BF}\u{1C4}-\u{293}\u{295}-\u{2AF}\u{370}-\u{373}\u{376}\u{377}\u{37B}-\u{37D}\u{37F}\u{386}\u{388}-\u{38A}\u{38C}\u{38E}-\u{3A1}\u{3A3}-\u{3F5}\u{3F7}-\u{481}\u{48A}-\u{52F}\u{531}-\u{556}\u{10A0}-\u{10C5}\u{13A0}-\u{13F5}\u{13F8}-\u{13FD}\u{1C90}-\u{1CBA}\u{1CBD}-\u{1CBF}\u{1D00}-\u{1D2B}\u{1D6B}-\u{1D77}\u{1D79}-\u{1D9A}\u{1E00}-\u{1F15}\u{1F18}-\u{1F1D}\u{1F20}-\u{1F45}\u{1F48}-\u{1F4D}\u{1F50}-\u{1F57}\u{1F59}\u{1F5B}\u{1F5D}\u{1F5F}-\u{1F7D}\u{1F80}-\u{1FB4}\u{1FB6}-\u{1FBC}\u{1FBE}\u{1FC2}-\u{1FC4}\u{1FC6}-\u{1FCC}\u{1FD0}-\u{1FD3}\u{1FD6}-\u{1FDB}\u{1FE0}-\u{1FEC}\u{1FF2}-\u{1FF4}\u{1FF6}-\u{1FFC}\u{2102}\u{2107}\u{210A}-\u{2113}\u{2115}\u{2119}-\u{211D}\u{2124}\u{2126}\u{2128}\u{212A}-\u{212D}\u{212F}-\u{2134}\u{2139}\u{213C}-\u{213F}\u{2145}-\u{2149}\u{214E}\u{2183}\u{2184}\u{2C00}-\u{2C7B}\u{2C7E}-\u{2CE4}\u{2CEB}-\u{2CEE}\u{2CF2}\u{2CF3}\u{A640}-\u{A66D}\u{A680}-\u{A69B}\u{A722}-\u{A76F}\u{A771}-\u{A787}\u{A78B}-\u{A78E}\u{AB70}-\u{ABBF}\u{FB00}-\u{FB06}\u{FB13}-\u{FB17}\u{FF21}-\u{FF3A}\u{FF41}-\u{FF5A}\u{10400}-\u{1044F}\u{104B0}-\u{104D3}\u{104D8}-\u{104FB}\u{10C80}-\u{10CB2}\u{10CC0}-\u{10CF2}\u{118A0}-\u{118DF}\u{1E900}-\u{1E943}]+";
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
