//! Reads Rust sources well enough to see which module uses which: comments and literals are told from code, `#[cfg(test)]`
//! items are left out, and each path that starts at the crate root is found, however it is written.

/// A piece of source code.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// An identifier or a keyword.
    Word(String),
    /// The content of a string literal.
    Text(String),
    /// Any other visible character.
    Mark(char),
}

/// A token and the line (from 1) it starts at.
type Placed = (Token, usize);

/// One source file, without comments and without what only tests compile.
#[derive(Debug)]
pub struct Source {
    tokens: Vec<Placed>,
}

/// A path into the crate, from its root: `crate::file::map` is `["file", "map"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The segments below the crate root.
    pub path: Vec<String>,
    /// The line (from 1) it is written at.
    pub line: usize,
}

impl Source {
    /// Reads the text of a file. Code that does not lex is read as far as it makes sense: the compiler reports it.
    pub fn parse(text: &str) -> Self {
        Self { tokens: without_tests(&lex(text)) }
    }

    /// The lines in which `word` stands as an identifier or a keyword.
    pub fn lines_with_word(&self, word: &str) -> Vec<usize> {
        self.lines(|token| matches!(token, Token::Word(found) if found == word))
    }

    /// The lines in which `part` occurs, in any case, within an identifier or a string literal.
    pub fn lines_with_part(&self, part: &str) -> Vec<usize> {
        let part = part.to_lowercase();
        self.lines(|token| match token {
            Token::Word(text) | Token::Text(text) => text.to_lowercase().contains(&part),
            Token::Mark(_) => false,
        })
    }

    fn lines(&self, wanted: impl Fn(&Token) -> bool) -> Vec<usize> {
        self.tokens.iter().filter(|(token, _)| wanted(token)).map(|(_, line)| *line).collect()
    }

    /// Every path from the crate root, `super::` chains from a file `depth` modules below the root included. Groups are
    /// spread out: `use crate::{a, b::{c, d}}` gives `a`, `b::c` and `b::d`.
    pub fn uses(&self, depth: usize) -> Vec<Use> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            // `a::crate` does not exist, but `a::super` would be part of a longer path: only the start of one counts.
            let starts = at < 2 || !(self.mark(at - 1, ':') && self.mark(at - 2, ':'));
            let root = match self.word(at) {
                Some("crate") if starts => Some(at + 1),
                Some("super") if starts => {
                    let mut end = at + 1;
                    let mut count = 1;
                    while self.separator(end) && self.word(end + 2) == Some("super") {
                        end += 3;
                        count += 1;
                    }
                    (count == depth).then_some(end)
                }
                _ => None,
            };
            match root {
                Some(next) if self.separator(next) => at = self.tree(next + 2, &[], &mut found),
                _ => at += 1,
            }
        }
        found
    }

    /// Reads `a::b`, `a::{b, c}` or `a::*` at `at`, below `prefix`; returns the place after it.
    fn tree(&self, at: usize, prefix: &[String], found: &mut Vec<Use>) -> usize {
        if self.mark(at, '{') {
            let mut next = at + 1;
            while next < self.tokens.len() && !self.mark(next, '}') {
                let after = if self.mark(next, ',') { next + 1 } else { self.tree(next, prefix, found) };
                next = after.max(next + 1);
            }
            return next + 1;
        }
        let Some(word) = self.word(at) else { return at };
        // `{self, …}` names the prefix itself, and `x as y` is still x.
        let mut path = prefix.to_vec();
        if word != "self" {
            path.push(word.to_owned());
        }
        if self.separator(at + 1) && (self.word(at + 3).is_some() || self.mark(at + 3, '{')) {
            return self.tree(at + 3, &path, found);
        }
        found.push(Use { path, line: self.tokens[at].1 });
        if self.word(at + 1) == Some("as") { at + 3 } else { at + 1 }
    }

    fn word(&self, at: usize) -> Option<&str> {
        match self.tokens.get(at) {
            Some((Token::Word(word), _)) => Some(word),
            _ => None,
        }
    }

    fn mark(&self, at: usize, mark: char) -> bool {
        matches!(self.tokens.get(at), Some((Token::Mark(found), _)) if *found == mark)
    }

    fn separator(&self, at: usize) -> bool {
        self.mark(at, ':') && self.mark(at + 1, ':')
    }
}

fn lex(text: &str) -> Vec<Placed> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < chars.len() {
        let begin = at;
        let rest = &chars[at..];
        let token = match rest {
            ['/', '/', ..] => {
                at += rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
                None
            }
            ['/', '*', ..] => {
                at += block_comment(rest);
                None
            }
            ['"', ..] => {
                let (length, content) = string(rest);
                at += length;
                Some(Token::Text(content))
            }
            ['\'', '\\', ..] => {
                // 'x is escaped: the quote that closes it comes after the escaped character.
                at += 3 + rest.iter().skip(3).position(|c| *c == '\'').map_or(0, |end| end + 1);
                None
            }
            ['\'', _, '\'', ..] => {
                at += 3;
                None
            }
            [first, ..] if first.is_alphabetic() || *first == '_' => {
                let length = rest.iter().position(|c| !c.is_alphanumeric() && *c != '_').unwrap_or(rest.len());
                let word: String = rest[..length].iter().collect();
                at += length;
                let raw = matches!(word.as_str(), "r" | "br" | "cr").then(|| raw_string(&rest[length..])).flatten();
                match raw {
                    Some((length, content)) => {
                        at += length;
                        Some(Token::Text(content))
                    }
                    None => Some(Token::Word(word)),
                }
            }
            [mark, ..] => {
                at += 1;
                (!mark.is_whitespace()).then_some(Token::Mark(*mark))
            }
            [] => None,
        };
        if let Some(token) = token {
            tokens.push((token, line));
        }
        at = at.clamp(begin + 1, chars.len());
        line += chars[begin..at].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// The length of a comment, which may hold comments.
fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => {
                depth += 1;
                at += 2;
            }
            ['*', '/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    break;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn string(rest: &[char]) -> (usize, String) {
    let mut content = String::new();
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        if rest[at] == '\\' {
            at += 1;
        }
        content.extend(rest.get(at));
        at += 1;
    }
    (at + 1, content)
}

/// `"…"` or `#"…"#` after an `r`.
fn raw_string(rest: &[char]) -> Option<(usize, String)> {
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    if rest.get(hashes) != Some(&'"') {
        return None;
    }
    let begin = hashes + 1;
    let closes =
        |at: usize| rest[at] == '"' && rest[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    let end = (begin..rest.len()).find(|at| closes(*at)).unwrap_or(rest.len());
    Some((end + 1 + hashes, rest[begin..end].iter().collect()))
}

/// Leaves out each item behind `#[cfg(test)]`: up to its `;`, or the end of its block.
fn without_tests(tokens: &[Placed]) -> Vec<Placed> {
    let attribute = lex("#[cfg(test)]");
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let here = tokens[at..].iter().take(attribute.len()).map(|(token, _)| token);
        if !here.eq(attribute.iter().map(|(token, _)| token)) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += attribute.len();
        let mut depth = 0usize;
        while at < tokens.len() {
            let token = &tokens[at].0;
            at += 1;
            match token {
                Token::Mark('{' | '[' | '(') => depth += 1,
                Token::Mark(closing @ ('}' | ']' | ')')) => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 && *closing == '}' {
                        break;
                    }
                }
                Token::Mark(';') if depth == 0 => break,
                _ => {}
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str, depth: usize) -> Vec<String> {
        Source::parse(text).uses(depth).iter().map(|found| found.path.join("::")).collect()
    }

    #[test]
    fn groups_are_spread_out() {
        let text =
            "use crate::{error::Error, file::{self, map::{Map as M, open}}, gpu::*};\nfn f() { crate::model::run(); }";
        let expected = ["error::Error", "file", "file::map::Map", "file::map::open", "gpu", "model::run"];
        assert_eq!(paths(text, 1), expected);
    }

    #[test]
    fn visibility_is_not_a_use() {
        assert_eq!(paths("pub(crate) fn f() {} pub(in crate::gpu) struct S;", 1), ["gpu"]);
    }

    #[test]
    fn super_counts_only_at_the_root() {
        assert_eq!(paths("use super::gpu::Buffer;", 1), ["gpu::Buffer"]);
        assert_eq!(paths("use super::gpu::Buffer;", 2), Vec::<String>::new());
        assert_eq!(paths("use super::super::model::Config;", 2), ["model::Config"]);
    }

    #[test]
    fn comments_literals_and_tests_are_not_code() {
        let text = r##"
            //! See crate::model.
            /* crate::model /* nested */ crate::model */
            const A: &str = "crate::model \" crate::model";
            const B: &str = r#"crate::model " "#;
            const C: char = '"'; const D: char = '\''; const E: &'static str = "";
            #[cfg(test)]
            mod tests { use crate::model::Llama; fn f() { { } } }
            #[cfg(test)] use crate::model::Config;
            use crate::gpu::Context;
        "##;
        assert_eq!(paths(text, 1), ["gpu::Context"]);
        assert_eq!(Source::parse(text).uses(1)[0].line, 10);
    }

    #[test]
    fn words_and_parts() {
        let source =
            Source::parse("// wgpu, llama\nuse wgpu::Device;\nconst NAME: &str = \"TinyLlama\";\nfn wgpus() {}");
        assert_eq!(source.lines_with_word("wgpu"), [2]);
        assert_eq!(source.lines_with_part("llama"), [3]);
        assert_eq!(source.lines_with_part("wgpu"), [2, 4]);
    }
}
