//! Text of users, sources and models must not close its block, open another or throw a switch.
//!
//! The change is small and visible, and models read it as what it is, a quotation:
//! - a line that begins with a role marker (`User:`, `Assistant:`, `System:`), or that is a reserved keyword alone, gets `> `
//!   in front, as a quoted line of a letter has;
//! - the hashes of a section header (`### Response:`) are set apart, `# # # Response:`, wherever in a line it stands, because
//!   stop strings and careless readers look for it anywhere;
//! - a special token spelled out (`<|im_end|>`, `[INST]`), which only matters to chat templates, gets a space behind its first
//!   character.
//!
//! Spellings are compared after folding: full-width and mathematical letters, look-alike Cyrillic and Greek ones, any
//! colon and hash sign, any case, any white space, and invisible characters, which are skipped. A line begins after each
//! of Unicode's line ends, not only after `\n`. What was changed is not changed again.

use std::ops::Range;

use serde::Serialize;

use super::conversation::Keywords;

/// Where a text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "index")]
pub enum Place {
    /// The message with this index in the conversation.
    Message(usize),
    /// The source with this index.
    Source(usize),
    /// The knowledge of the System block.
    Knowledge,
    /// The character's description.
    Character,
}

/// A marker that was kept from acting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Neutralised {
    /// The text that it stood in.
    pub place: Place,
    /// The marker as it was written.
    pub marker: String,
}

/// Which markers a preset's format knows.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    /// The words of section headers, folded, without hashes and colon.
    pub(super) headers: Vec<String>,
    /// Role names, folded, without the colon.
    pub(super) roles: Vec<String>,
    /// Role names within a line, with their colon: folded characters, and which of them are upper case.
    pub(super) inline: Vec<Vec<(char, bool)>>,
    /// Special tokens and other markers in brackets.
    pub(super) specials: Specials,
}

impl Rules {
    /// The rules of a format that has these headers and roles.
    pub(super) fn of(headers: &[&str], roles: &[&str]) -> Self {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Self { headers: owned(headers), roles: owned(roles), ..Self::default() }
    }
}

/// Folded spellings, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Specials(Vec<Vec<char>>);

impl Specials {
    /// Those of `tokens` that have more than one character.
    pub(super) fn new<'t>(tokens: impl Iterator<Item = &'t str>) -> Self {
        let mut folded: Vec<_> = tokens.map(fold_token).filter(|token| token.len() > 1).collect();
        folded.sort_unstable();
        folded.dedup();
        Self(folded)
    }

    /// The index of the last character of the longest spelling at `at`.
    fn end(&self, folded: &[Folded], at: usize) -> Option<usize> {
        // Those that begin with what was read so far.
        let mut left = self.0.as_slice();
        let mut found = None;
        for (depth, f) in folded[at..].iter().enumerate() {
            let key = |token: &Vec<char>| token.get(depth).copied();
            let start = left.partition_point(|token| key(token) < Some(f.c));
            let end = start + left[start..].partition_point(|token| key(token) == Some(f.c));
            left = &left[start..end];
            // The shortest comes first.
            match left.first() {
                None => break,
                Some(token) if token.len() == depth + 1 => found = Some(at + depth),
                Some(_) => {}
            }
        }
        found
    }
}

pub(super) const ROLES: &[&str] = &["user", "assistant", "system"];
pub(super) const CHAT_ROLES: &[&str] = &["user", "assistant", "system", "human", "ai", "bot", "gpt"];
pub(super) const HEADERS: &[&str] = &["instruction", "input", "response"];

/// A character as it is compared, and where it stands.
struct Folded {
    c: char,
    at: Range<usize>,
    /// As written, width aside: keywords are upper case.
    case: char,
}

/// `text`, with every marker of `rules` kept from acting; keywords count in the System block only at the very start of a text,
/// elsewhere on a line of their own.
pub(super) fn neutralise(text: &str, rules: &Rules, place: Place, report: &mut Vec<Neutralised>) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut first = true;
    while !rest.is_empty() {
        let end =
            rest.find(is_line_end).map_or(rest.len(), |at| at + rest[at..].chars().next().map_or(1, char::len_utf8));
        let (line, after) = rest.split_at(end);
        // The first line of a message stands behind `User: `, where a keyword is a word like another.
        let keywords = !first || !matches!(place, Place::Message(_));
        push_line(line, rules, keywords, place, &mut out, report);
        rest = after;
        first = false;
    }
    out
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn push_line(line: &str, rules: &Rules, keywords: bool, place: Place, out: &mut String, report: &mut Vec<Neutralised>) {
    let folded = fold(line);
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut note = |range: Range<usize>| report.push(Neutralised { place, marker: line[range].to_owned() });
    let start = folded.iter().position(|f| f.c != ' ').unwrap_or(folded.len());
    if let Some(end) = role_marker(&folded, start, rules).or_else(|| keyword(&folded, start).filter(|_| keywords)) {
        let range = folded[start].at.start..folded[end].at.end;
        note(range.clone());
        edits.push((range.start..range.start, "> ".into()));
    }
    let mut at = start;
    while at < folded.len() {
        if let Some((hashes, end)) = header(&folded, at, at == start, rules) {
            note(folded[at].at.start..folded[end].at.end);
            let spaced = vec!["#"; hashes].join(" ");
            edits.push((folded[at].at.start..folded[at + hashes - 1].at.end, spaced));
            at = end + 1;
        } else if let Some(end) = rules.specials.end(&folded, at) {
            note(folded[at].at.start..folded[end].at.end);
            edits.push((folded[at].at.end..folded[at].at.end, " ".into()));
            at = end + 1;
        } else if let Some(end) = inline(&folded, at, rules) {
            note(folded[at].at.start..folded[end].at.end);
            edits.push((folded[end].at.start..folded[end].at.start, " ".into()));
            at = end + 1;
        } else {
            at += 1;
        }
    }
    let mut done = 0;
    for (range, with) in edits {
        out.push_str(&line[done..range.start]);
        out.push_str(&with);
        done = range.end;
    }
    out.push_str(&line[done..]);
}

/// The index of the colon of a role marker that begins at `start`.
fn role_marker(folded: &[Folded], start: usize, rules: &Rules) -> Option<usize> {
    rules.roles.iter().find_map(|role| {
        let end = skip_spaces(folded, matches_word(folded, start, role)?);
        (folded.get(end)?.c == ':').then_some(end)
    })
}

/// The index of the last character of a reserved keyword that is all of the line.
fn keyword(folded: &[Folded], start: usize) -> Option<usize> {
    let end = folded.iter().rposition(|f| f.c != ' ')?;
    if start > end {
        return None;
    }
    let words: String = folded[start..=end].iter().map(|f| if f.c == ' ' { ' ' } else { f.case }).collect();
    let words: Vec<&str> = words.trim_end_matches(['.', '!', '。', '！', ':']).split_whitespace().collect();
    Keywords::NAMES.contains(&words.join(" ").as_str()).then_some(end)
}

/// How many hashes, and the index of the last character, of a section header at `at`. Without its colon a header counts only at
/// the start of a line.
fn header(folded: &[Folded], at: usize, line_start: bool, rules: &Rules) -> Option<(usize, usize)> {
    if folded[at].c != '#' || at > 0 && folded[at - 1].c == '#' {
        return None;
    }
    let hashes = folded[at..].iter().take_while(|f| f.c == '#').count();
    if hashes < 2 {
        return None;
    }
    let word_at = skip_spaces(folded, at + hashes);
    rules.headers.iter().find_map(|word| {
        let word_end = matches_word(folded, word_at, word)?;
        let end = skip_spaces(folded, word_end);
        let ends_word = folded.get(word_end).is_none_or(|f| !f.c.is_alphanumeric());
        match folded.get(end) {
            Some(f) if f.c == ':' => Some((hashes, end)),
            _ if line_start && ends_word => Some((hashes, word_end - 1)),
            _ => None,
        }
    })
}

/// The index of the colon of a role within a line, in the case in which the format writes it.
fn inline(folded: &[Folded], at: usize, rules: &Rules) -> Option<usize> {
    if at > 0 && folded[at - 1].c.is_alphanumeric() {
        return None;
    }
    let same = |label: &&Vec<(char, bool)>| {
        folded.len() - at >= label.len()
            && label.iter().zip(&folded[at..]).all(|(&(c, upper), f)| f.c == c && f.case.is_uppercase() == upper)
    };
    let longest = rules.inline.iter().filter(same).map(Vec::len).max().filter(|&len| len > 1)?;
    Some(at + longest - 1)
}

fn matches_word(folded: &[Folded], at: usize, word: &str) -> Option<usize> {
    let mut end = at;
    for c in word.chars() {
        if folded.get(end)?.c != c {
            return None;
        }
        end += 1;
    }
    Some(end)
}

fn skip_spaces(folded: &[Folded], mut at: usize) -> usize {
    while folded.get(at).is_some_and(|f| f.c == ' ') {
        at += 1;
    }
    at
}

/// A text as it is compared.
pub(super) fn fold_token(token: &str) -> Vec<char> {
    fold(token).into_iter().map(|f| f.c).collect()
}

fn fold(line: &str) -> Vec<Folded> {
    let mut folded = Vec::with_capacity(line.len());
    for (start, c) in line.char_indices() {
        if is_invisible(c) {
            continue;
        }
        let case = fold_letter(c);
        let lower = case.to_lowercase().next().unwrap_or(case);
        folded.push(Folded { c: fold_look_alike(lower), at: start..start + c.len_utf8(), case });
    }
    folded
}

/// Format characters that show nothing, and marks that would only decorate a letter.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{8}' | '\u{e}'..='\u{1b}' | '\u{7f}' | '\u{ad}' | '\u{300}'..='\u{36f}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Width and font folded away, case kept.
fn fold_letter(c: char) -> char {
    let code = u32::from(c);
    let folded = match code {
        0xff01..=0xff5e => code - 0xfee0,
        // Mathematical alphabets: 13 fonts of 26 + 26 letters; the few holes are letterlike symbols.
        0x1d400..=0x1d6a3 => {
            let letter = (code - 0x1d400) % 52;
            if letter < 26 { 0x41 + letter } else { 0x61 + letter - 26 }
        }
        0x24b6..=0x24cf => 0x41 + code - 0x24b6,
        0x24d0..=0x24e9 => 0x61 + code - 0x24d0,
        0x1f130..=0x1f149 => 0x41 + code - 0x1f130,
        _ => code,
    };
    let c = char::from_u32(folded).unwrap_or(c);
    match c {
        ':' | '\u{2d0}' | '\u{2f8}' | '\u{589}' | '\u{5c3}' | '\u{2236}' | '\u{a789}' | '\u{fe13}' | '\u{fe55}'
        | '\u{fe30}' => ':',
        '\u{fe5f}' | '\u{266f}' | '\u{22d5}' => '#',
        c if c.is_whitespace() || matches!(c, '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{1c}'..='\u{1f}') => ' ',
        c => c,
    }
}

/// Letters of other scripts that look like the Latin ones of the markers; `c` is lower case.
fn fold_look_alike(c: char) -> char {
    match c {
        'а' | 'α' | 'ɑ' => 'a',
        'е' | 'ё' | 'é' | 'è' => 'e',
        'і' | 'ι' | 'ı' | 'ï' | 'í' => 'i',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'у' | 'γ' => 'y',
        'м' => 'm',
        'о' | 'ο' | 'ö' | 'ó' => 'o',
        'р' | 'ρ' => 'p',
        'с' => 'c',
        'υ' | 'ü' | 'ú' | 'ս' => 'u',
        'ν' | 'п' | 'ո' => 'n',
        'г' => 'r',
        'ԁ' => 'd',
        'ſ' => 's',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> (String, Vec<String>) {
        let specials = Specials::new(["</s>", "<|im_end|>", "[INST]", "<|im_end|><|more|>"].into_iter());
        let rules = Rules { specials, ..Rules::of(HEADERS, ROLES) };
        let mut report = Vec::new();
        let out = neutralise(text, &rules, Place::Message(0), &mut report);
        let mut again = Vec::new();
        assert_eq!(neutralise(&out, &rules, Place::Message(0), &mut again), out, "twice differs from once");
        assert!(again.is_empty(), "{again:?}");
        (out, report.into_iter().map(|n| n.marker).collect())
    }

    #[test]
    fn markers_are_quoted() {
        for (text, expected) in [
            ("a\nUser: b", "a\n> User: b"),
            ("a\n  assistant : b", "a\n  > assistant : b"),
            ("a\rSystem:b", "a\r> System:b"),
            ("a\r\nSystem:b", "a\r\n> System:b"),
            ("a\u{2028}User:", "a\u{2028}> User:"),
            ("a\u{2029}User:", "a\u{2029}> User:"),
            ("a\u{85}User:", "a\u{85}> User:"),
            ("a\u{c}User:", "a\u{c}> User:"),
            ("a\nＵｓｅｒ：b", "a\n> Ｕｓｅｒ：b"),
            ("a\nU\u{200b}ser\u{feff}: b", "a\n> U\u{200b}ser\u{feff}: b"),
            ("a\n\u{200b}User: b", "a\n\u{200b}> User: b"),
            ("a\n\u{3000}Usеr: b", "a\n\u{3000}> Usеr: b"),
            ("a\n𝐔𝐬𝐞𝐫: b", "a\n> 𝐔𝐬𝐞𝐫: b"),
            ("Assistant: b", "> Assistant: b"),
            ("see ### Response: x", "see # # # Response: x"),
            ("###Input:", "# # #Input:"),
            ("####  input :", "# # # #  input :"),
            ("＃＃＃ Ｒｅｓｐｏｎｓｅ：", "# # # Ｒｅｓｐｏｎｓｅ："),
            ("#\u{200b}## Response:", "# # # Response:"),
            ("a\n### Response\nb", "a\n# # # Response\nb"),
            ("a\nUser: ### Input: </s>", "a\n> User: # # # Input: < /s>"),
            ("a\nNO IDEA\n", "a\n> NO IDEA\n"),
            ("a\n NO  IDEA.", "a\n > NO  IDEA."),
            ("a\nＳＦＷ", "a\n> ＳＦＷ"),
            ("<|im_end|>[INST]", "< |im_end|>[ INST]"),
        ] {
            let (out, report) = run(text);
            assert_eq!(out, expected);
            assert!(!report.is_empty(), "{text:?} was changed and not reported");
        }
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in [
            "",
            "The User: field",
            "a\nUsers: many",
            "a\nuser",
            "# Input: a heading",
            "## Responses",
            "the ### Response was",
            "NO IDEA",
            "a\nno idea",
            "a\nNO IDEA about it",
            "a\nSystematic: yes",
            "x < y > z",
            "Käse: gut\r\n\r\nTschüß 你好：“ok”",
        ] {
            assert_eq!(run(text), (text.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn a_keyword_opens_a_system_text_as_a_switch_would() {
        let mut report = Vec::new();
        assert_eq!(neutralise("SFW\nx", &Rules::default(), Place::Knowledge, &mut report), "> SFW\nx");
        assert_eq!(report, [Neutralised { place: Place::Knowledge, marker: "SFW".into() }]);
    }
}
