//! V3's decorators: lines `@@name value` at the head of an entry's content, with `@@@name` lines as what to take where the one
//! above is not known.

use super::lorebook::Place;

/// What the decorators of an entry ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decorators {
    /// Matches in any case.
    pub activate: bool,
    /// Matches in no case, unless `activate`.
    pub dont_activate: bool,
    /// Not before there are so many replies.
    pub only_after: Option<usize>,
    /// Only when the number of replies is a multiple.
    pub only_every: Option<usize>,
    /// What a match in an earlier prompt of the talk does.
    pub after_match: Option<AfterMatch>,
    /// Only with that greeting: 0 is the first message.
    pub greeting: Option<usize>,
    /// How many messages are looked through, in place of the book's depth.
    pub scan_depth: Option<usize>,
    /// Where the content goes.
    pub place: Option<Place>,
    /// How many messages from the newest it should stand; the format has no such place.
    pub depth: Option<Depth>,
    /// One key of each list must be there, too.
    pub additional_keys: Vec<Vec<String>>,
    /// None of these may be there.
    pub exclude_keys: Vec<String>,
    /// The first to go when the budget is used up.
    pub first_to_go: bool,
    /// Those that have no meaning here, as written.
    pub ignored: Vec<String>,
}

/// What becomes of an entry once it matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterMatch {
    /// It matches in any case.
    Keep,
    /// It matches in no case.
    Stop,
}

/// A place in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// From the newest message.
    FromNewest(usize),
    /// From the oldest one.
    FromOldest(usize),
}

/// The decorators that are known, by name.
pub const KNOWN: [&str; 14] = [
    "activate",
    "dont_activate",
    "activate_only_after",
    "activate_only_every",
    "keep_activate_after_match",
    "dont_activate_after_match",
    "is_greeting",
    "scan_depth",
    "ignore_on_max_context",
    "additional_keys",
    "exclude_keys",
    "position",
    "depth",
    "reverse_depth",
];

/// How many decorators of an entry are looked at.
const MOST: usize = 64;

impl Decorators {
    /// Takes the decorators off an entry's content, and returns what follows them.
    pub fn split(content: &str) -> (Self, &str) {
        let mut found = Self::default();
        // For fallbacks: whether the decorator above was taken.
        let mut taken = true;
        let mut names = Vec::new();
        let mut rest = content;
        let mut plain = content;
        while let Some(line) = rest.split_inclusive('\n').next() {
            let trimmed = line.trim();
            rest = &rest[line.len()..];
            if trimmed.is_empty() {
                continue;
            }
            let Some(text) = trimmed.strip_prefix("@@") else { break };
            let (is_fallback, text) = match text.strip_prefix('@') {
                Some(text) => (true, text),
                None => (false, text),
            };
            plain = rest;
            if names.len() >= MOST || is_fallback && taken {
                continue;
            }
            let (name, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            let several = matches!(name, "additional_keys" | "exclude_keys");
            // Of several with one name the first counts.
            taken = names.contains(&name) && !several || found.take(name, value.trim());
            if taken {
                names.push(name);
            } else if found.ignored.len() < MOST {
                found.ignored.push(trimmed.chars().take(100).collect());
            }
        }
        match plain.len() == content.len() {
            true => (found, content),
            false => (found, plain.trim_start_matches(['\r', '\n', ' ', '\t'])),
        }
    }

    /// False when the decorator is not known, has no meaning here, or its value is wrong.
    fn take(&mut self, name: &str, value: &str) -> bool {
        let number = value.parse::<f64>().ok().filter(|number| number.is_finite());
        let count = number.map(|number| number.max(0.0) as usize);
        let list =
            || value.split(',').map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()).collect::<Vec<_>>();
        let set = |slot: &mut Option<usize>, value: Option<usize>| {
            *slot = value;
            value.is_some()
        };
        match name {
            "activate" => self.activate = true,
            "dont_activate" => self.dont_activate = true,
            "activate_only_after" => return set(&mut self.only_after, count),
            "activate_only_every" => return set(&mut self.only_every, count.filter(|&count| count > 0)),
            "keep_activate_after_match" => self.after_match = self.after_match.or(Some(AfterMatch::Keep)),
            "dont_activate_after_match" => self.after_match = self.after_match.or(Some(AfterMatch::Stop)),
            "is_greeting" => return set(&mut self.greeting, count),
            "scan_depth" => return set(&mut self.scan_depth, count),
            "ignore_on_max_context" => self.first_to_go = true,
            "additional_keys" if !value.is_empty() => self.additional_keys.push(list()),
            "exclude_keys" if !value.is_empty() => self.exclude_keys.extend(list()),
            "position" => {
                self.place = match value {
                    "before_desc" => Some(Place::BeforeDescription),
                    "after_desc" => Some(Place::AfterDescription),
                    "personality" => Some(Place::Personality),
                    "scenario" => Some(Place::Scenario),
                    _ => None,
                };
                return self.place.is_some();
            }
            "depth" => {
                self.depth = count.map(Depth::FromNewest);
                return self.depth.is_some();
            }
            "reverse_depth" => {
                let depth = count.map(Depth::FromOldest);
                self.depth = self.depth.or(depth);
                return depth.is_some();
            }
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_and_rest() {
        let (found, rest) =
            Decorators::split("\n@@depth 4\n@@activate\r\n@@additional_keys a, b\n@@additional_keys c\n\nText\n@@x");
        assert_eq!(rest, "Text\n@@x");
        assert_eq!(found.depth, Some(Depth::FromNewest(4)));
        assert!(found.activate && found.ignored.is_empty());
        assert_eq!(found.additional_keys, [vec!["a", "b"], vec!["c"]]);
        for plain in ["Text @@activate", " Text", "", "\n\nText", "@text"] {
            assert_eq!(Decorators::split(plain), (Decorators::default(), plain));
        }
        assert_eq!(Decorators::split("@@dont_activate").1, "");
    }

    #[test]
    fn those_that_are_listed_are_known() {
        for name in KNOWN {
            let value = if name == "position" { "scenario" } else { "2" };
            assert!(Decorators::default().take(name, value), "{name}");
        }
    }

    #[test]
    fn fallbacks() {
        let (found, rest) =
            Decorators::split("@@risu 4\n@@@agn 3\n@@@activate_only_after 2\n@@@activate_only_every 3\nx");
        assert_eq!((found.only_after, found.only_every, rest), (Some(2), None, "x"));
        assert_eq!(found.ignored, ["@@risu 4", "@@@agn 3"]);
        let (found, _) = Decorators::split("@@scan_depth 4\n@@@activate\nx");
        assert_eq!((found.scan_depth, found.activate), (Some(4), false));
        let (found, _) = Decorators::split("@@position nowhere\n@@@position after_desc\n@@scan_depth x\n");
        assert_eq!(found.place, Some(Place::AfterDescription));
        assert_eq!(found.ignored, ["@@position nowhere", "@@scan_depth x"]);
        let (found, _) = Decorators::split("@@activate_only_after 2\n@@activate_only_after 5\n@@activate_only_every 0");
        assert_eq!((found.only_after, found.only_every), (Some(2), None));
    }
}
