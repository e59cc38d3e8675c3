//! The turn markers that a chat template prints as plain text (`### Human:`, `USER:`, `[INST]`).

use std::time::SystemTime;

use super::neutralise::{Rules, Specials, fold_token};
use super::template::{View, render};

/// What a template prints around contents, special tokens left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Markers {
    /// The words of headers, folded, without hashes and colon.
    headers: Vec<String>,
    /// Labels in front of a colon at the start of a line, folded.
    roles: Vec<String>,
    /// Labels with their colon, within a line.
    inline: Vec<String>,
    /// What is in brackets.
    brackets: Vec<String>,
    /// Texts that a model which continues prints next.
    pub(super) stops: Vec<String>,
}

const MAX_LABEL: usize = 32;

impl Markers {
    /// Runs `template` on a short conversation. None when it refuses that.
    pub(super) fn of<'s>(
        template: &str,
        bos_token: &'s str,
        eos_token: &'s str,
        now: SystemTime,
        specials: impl Iterator<Item = &'s str>,
    ) -> Option<Self> {
        let contents = ["\u{10fff0}", "\u{10fff1}", "\u{10fff2}", "\u{10fff3}"];
        if contents.iter().any(|content| template.contains(content)) {
            return None;
        }
        let roles = ["system", "user", "assistant", "user"];
        let messages: Vec<_> = roles.into_iter().zip(contents.map(str::to_owned)).collect();
        let text = [0, 1].into_iter().find_map(|first| {
            let messages = &messages[first..];
            render(template, &View { messages, add_generation_prompt: true, bos_token, eos_token, now }).ok()
        })?;
        let mut frames: Vec<String> =
            text.split(|c| contents.iter().any(|s| s.starts_with(c))).map(str::to_owned).collect();
        let specials = specials.filter(|name| !name.is_empty()).chain([bos_token, eos_token]);
        let mut found: Vec<&str> = specials.filter(|name| text.contains(name)).collect();
        found.sort_by_key(|name| std::cmp::Reverse(name.len()));
        for frame in &mut frames {
            for name in &found {
                *frame = frame.replace(name, "\u{10fff4}");
            }
        }
        let mut markers = Self::default();
        for (index, frame) in frames.iter().enumerate() {
            let lines = frame.split('\n').enumerate();
            // In front of the first content there may be any text.
            let skip = if index == 0 { frame.matches('\n').count() } else { 0 };
            for (number, line) in lines.skip(skip) {
                for (part, piece) in line.split('\u{10fff4}').enumerate() {
                    markers.add(piece.trim(), part == 0 && (number > 0 || index == 0));
                }
            }
        }
        Some(markers)
    }

    fn add(&mut self, piece: &str, starts_line: bool) {
        let folded = |text: &str| fold_token(text.trim()).into_iter().collect::<String>();
        let short = |text: &str| text.chars().count() <= MAX_LABEL && text.split_whitespace().count() <= 3;
        let mut stop = piece.to_owned();
        if piece.starts_with("##") {
            let words = piece.trim_start_matches('#').trim_end_matches(':');
            if words.trim().is_empty() || !short(words) {
                return;
            }
            self.headers.push(folded(words));
        } else if let Some(label) = piece.strip_suffix(':').filter(|label| !label.trim().is_empty() && short(label)) {
            self.roles.push(folded(label));
            if starts_line {
                stop.insert(0, '\n');
            } else {
                self.inline.push(piece.to_owned());
            }
        } else if (piece.starts_with('<') && piece.ends_with('>') || piece.starts_with('[') && piece.ends_with(']'))
            && short(piece)
            && piece.chars().count() > 2
        {
            self.brackets.push(piece.to_owned());
        } else {
            return;
        }
        if !self.stops.contains(&stop) {
            self.stops.push(stop);
        }
    }

    /// The rules that keep these markers from acting, `specials` among the brackets.
    pub(super) fn rules<'s>(&'s self, specials: impl Iterator<Item = &'s str>) -> Rules {
        let labels =
            |label: &String| label.chars().map(|c| (fold_token(c.encode_utf8(&mut [0; 4])), c)).collect::<Vec<_>>();
        let inline = self.inline.iter().map(|label| {
            labels(label).into_iter().filter_map(|(folded, c)| Some((*folded.first()?, c.is_uppercase()))).collect()
        });
        Rules {
            headers: self.headers.clone(),
            roles: self.roles.clone(),
            inline: inline.collect(),
            specials: Specials::new(specials.chain(self.brackets.iter().map(String::as_str))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(template: &str) -> Markers {
        let specials = ["<|im_start|>", "<|im_end|>"].into_iter();
        Markers::of(template, "<s>", "</s>", SystemTime::UNIX_EPOCH, specials).unwrap()
    }

    #[test]
    fn markers_are_what_is_printed_around_contents() {
        let chatml = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
        assert_eq!(of(chatml), Markers::default());
        let human = "{% for m in messages %}### {{ m.role | title }}: {{ m.content }}\n{% endfor %}### Assistant:";
        assert_eq!(of(human).stops, ["### System:", "### User:", "### Assistant:"]);
        let vicuna = "Some words: {% for m in messages %}{% if m.role == 'assistant' %} ASSISTANT: {{ m.content }}</s>{% else %}USER: {{ m.content }}{% endif %}{% endfor %} ASSISTANT:";
        assert_eq!(of(vicuna).inline, ["USER:", "ASSISTANT:", "USER:", "ASSISTANT:"]);
        let llama2 = "{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }} </s>{% else %}<s>[INST] {{ m.content }} [/INST]{% endif %}{% endfor %}";
        assert_eq!(of(llama2).stops, ["[INST]", "[/INST]"]);
    }
}
