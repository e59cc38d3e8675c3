//! Bounds on the nesting of a chat template, checked on its tokens.
//!
//! minijinja bounds brackets and blocks, but not chains: each operator, filter, attribute, subscript and `elif` of a flat chain is one
//! more level of the syntax tree, and the parser, the compiler and the drop of the tree recurse over it. This check needs no
//! recursion, and runs first.

use std::borrow::Cow;

use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;

/// The most levels of one expression. Public templates have less than 60.
pub(super) const MAX_EXPRESSION: usize = 400;
/// The most levels of blocks, an `elif` being one more level. Public templates have less than 50.
pub(super) const MAX_BLOCKS: usize = 400;

/// Why a template is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "chat template: line {line}: an expression is chained or nested more than {MAX_EXPRESSION} levels deep; expected at most {MAX_EXPRESSION}"
    )]
    Expression { line: u16 },
    #[error(
        "chat template: line {line}: blocks are nested or chained more than {MAX_BLOCKS} levels deep; expected at most {MAX_BLOCKS}"
    )]
    Blocks { line: u16 },
}

/// Checks the nesting of `source`. Returns it with the tags `generation` and `endgeneration` written as `with` and `endwith`:
/// transformers marks what a model is trained on with them, prints the contents, and gives them a scope of their own.
pub(super) fn checked(source: &str, syntax: SyntaxConfig) -> Result<Cow<'_, str>, Refusal> {
    let mut tags = Vec::new();
    let mut tag = Tag::default();
    let mut blocks: Vec<usize> = Vec::new();
    let mut levels = 0;
    for token in tokenize(source, false, syntax) {
        // The parser reports it: it reads no further.
        let Ok((token, span)) = token else { break };
        match token {
            Token::TemplateData(_) => {}
            Token::VariableStart | Token::VariableEnd | Token::BlockStart => tag = Tag::default(),
            Token::BlockEnd => {
                let name = std::mem::take(&mut tag);
                if let Some((keyword, at)) = name.alone() {
                    tags.push((keyword, at));
                }
                match name.keyword {
                    "elif" => {
                        levels += 1;
                        blocks.last_mut().into_iter().for_each(|own| *own += 1);
                    }
                    "set" if name.assigns => {}
                    "if" | "for" | "with" | "set" | "autoescape" | "filter" | "macro" | "call" | "generation"
                    | "block" => {
                        levels += 1;
                        blocks.push(1);
                    }
                    end if end.starts_with("end") => levels -= blocks.pop().unwrap_or(0),
                    _ => {}
                }
                if levels > MAX_BLOCKS {
                    return Err(Refusal::Blocks { line: span.start_line });
                }
            }
            token => {
                if tag.push(&token, span) > MAX_EXPRESSION {
                    return Err(Refusal::Expression { line: span.start_line });
                }
            }
        }
    }
    let mut out = Cow::Borrowed(source);
    for (keyword, span) in tags.into_iter().rev() {
        let with = match keyword {
            "generation" => "with",
            "endgeneration" => "endwith",
            _ => continue,
        };
        out.to_mut().replace_range(span.start_offset as usize..span.end_offset as usize, with);
    }
    Ok(out)
}

/// One `{{ … }}` or `{% … %}`.
#[derive(Default)]
struct Tag<'s> {
    keyword: &'s str,
    keyword_at: Span,
    tokens: usize,
    /// True when `=` is in it outside of brackets.
    assigns: bool,
    /// The brackets around the part that is being read.
    outer: Vec<Part>,
    part: Part,
    /// The levels of the parts in `outer`.
    outer_levels: usize,
}

/// What is between two commas, or between brackets.
#[derive(Default, Clone, Copy)]
struct Part {
    /// The links of its chain.
    links: usize,
    /// The deepest brackets in it.
    inner: usize,
    /// The deepest of the parts before it within the same brackets.
    before: usize,
}

impl Part {
    fn levels(self) -> usize {
        self.before.max(self.links + self.inner)
    }
}

impl<'s> Tag<'s> {
    /// The keyword of a tag that has nothing else.
    fn alone(&self) -> Option<(&'s str, Span)> {
        (self.tokens == 1).then_some((self.keyword, self.keyword_at))
    }

    /// Adds a token, and returns an upper bound of the levels so far.
    fn push(&mut self, token: &Token<'s>, span: Span) -> usize {
        self.tokens += 1;
        match token {
            Token::Ident(name) if self.tokens == 1 => (self.keyword, self.keyword_at) = (name, span),
            Token::Ident("and" | "or" | "not" | "is" | "in" | "if" | "else") => self.part.links += 1,
            Token::Ident(_) | Token::Str(_) | Token::String(_) | Token::Int(_) | Token::Int128(_) | Token::Float(_) => {
            }
            Token::Assign => {
                self.assigns |= self.outer.is_empty();
                self.next_part();
            }
            Token::Comma | Token::Colon => self.next_part(),
            Token::BracketOpen | Token::ParenOpen | Token::BraceOpen => {
                self.part.links += 1;
                self.outer_levels += self.part.links;
                self.outer.push(std::mem::take(&mut self.part));
            }
            Token::BracketClose | Token::ParenClose | Token::BraceClose => {
                if let Some(outer) = self.outer.pop() {
                    let levels = std::mem::replace(&mut self.part, outer).levels();
                    self.outer_levels -= outer.links;
                    self.part.inner = self.part.inner.max(levels);
                }
            }
            _ => self.part.links += 1,
        }
        self.outer_levels + self.part.levels()
    }

    fn next_part(&mut self) {
        self.part = Part { before: self.part.levels(), ..Part::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str) -> Result<String, String> {
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().unwrap();
        checked(source, syntax).map(Cow::into_owned).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn chains_have_an_end() {
        let expressions =
            [("-", "1"), ("x~", "x"), ("x|e", ""), ("x if y else ", "x"), ("[", ""), ("x[", ""), ("f(x.y)", "")];
        for (link, end) in expressions {
            let source = |count| format!("{{{{ {}{end} }}}}", link.repeat(count));
            assert!(check(&source(60)).is_ok(), "{link}");
            assert!(check(&source(500)).unwrap_err().contains("line 1: an expression"), "{link}");
        }
        let elifs = |count| format!("{{% if a %}}{}{{% endif %}}", "\n{% elif a %}".repeat(count));
        assert!(check(&elifs(50)).is_ok() && check(&elifs(500)).unwrap_err().contains("blocks are nested"));
        let long = format!(
            "{{{{ [{}] }}}}{}",
            "a.b, ".repeat(9000),
            "{% if a %}{% set x = 1 %}{% elif b %}{% endif %}".repeat(9000)
        );
        assert_eq!(check(&long), Ok(long));
    }

    #[test]
    fn the_generation_tag_becomes_a_scope() {
        let source = "a {%- generation +%} b {{ 'generation' }}{% set generation = 1 %} {% endgeneration -%} c";
        let expected = "a {%- with +%} b {{ 'generation' }}{% set generation = 1 %} {% endwith -%} c";
        assert_eq!(check(source).as_deref(), Ok(expected));
    }
}
