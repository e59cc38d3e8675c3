//! Role-play: `Name: reply`, written and read back.

use super::neutralise::{ROLES, fold_token};
use crate::error::{Error, Result};

/// Takes a reply apart into the name that it begins with and the rest. A name counts when it is one of `names` (without regard
/// to case), with a colon of either width behind it. The name comes back as `names` spells it; text without one comes back
/// whole, but for white space in front.
pub fn parse_reply(text: &str, names: &[&str]) -> (Option<String>, String) {
    let text = text.trim_start();
    let found = names.iter().filter(|name| !name.is_empty()).filter_map(|name| {
        let rest = strip_name(text, name)?.trim_start_matches([' ', '\t', '\u{3000}']);
        let rest = rest.strip_prefix([':', '：'])?;
        Some((name.len(), *name, rest.trim_start()))
    });
    match found.max_by_key(|(len, ..)| *len) {
        Some((_, name, rest)) => (Some(name.to_owned()), rest.to_owned()),
        None => (None, text.to_owned()),
    }
}

fn strip_name<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut rest = text.chars();
    for expected in name.chars() {
        let got = rest.next()?;
        if got != expected && !got.to_lowercase().eq(expected.to_lowercase()) {
            return None;
        }
    }
    Some(rest.as_str())
}

/// Checks that a speaker's name can stand in front of a colon without being taken for anything else.
pub(super) fn check_name(name: &str) -> Result<()> {
    // Full-width forms, look-alikes and invisible characters count as what they look like.
    let folded: String = fold_token(name).into_iter().collect();
    let problem = if folded.trim().is_empty() {
        "is empty"
    } else if name.trim() != name {
        "has spaces around it"
    } else if name.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        "has a line end or control character in it"
    } else if folded.contains([':', '#']) {
        "has a colon or hash sign in it"
    } else if ROLES.contains(&folded.trim()) {
        "is a role of the format"
    } else {
        return Ok(());
    };
    Err(Error::Prompt(format!("the character's name {name:?} {problem}; expected a name on one line, such as \"Ava\"")))
}

/// The name that is nearest to `name` and that [`super::build`] takes: on one line, without what looks like a colon or a hash
/// sign, and no role of the format. A name that is fine comes back as it is.
pub fn mend_name(name: &str) -> String {
    let folded = |text: &str| fold_token(text).into_iter().collect::<String>();
    let is_odd = |c: char| {
        let looks = folded(c.encode_utf8(&mut [0; 4]));
        c.is_control() || c.is_whitespace() || matches!(c, '\u{2028}' | '\u{2029}') || looks.contains([':', '#'])
    };
    let words = name.split(is_odd).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match folded(&words).trim() {
        "" => "?".to_owned(),
        role if ROLES.contains(&role) => format!("The {words}"),
        _ => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies() {
        let names = ["Ava", "Ava Lee", "小明"];
        for (text, name, reply) in [
            ("Ava: Hello", Some("Ava"), "Hello"),
            (" ava :Hello", Some("Ava"), "Hello"),
            ("Ava Lee: Hello: you", Some("Ava Lee"), "Hello: you"),
            ("小明：你好", Some("小明"), "你好"),
            ("Bob: Hello", None, "Bob: Hello"),
            ("Ava says: Hello", None, "Ava says: Hello"),
            ("Avalon: Hello", None, "Avalon: Hello"),
            ("Ava", None, "Ava"),
            ("", None, ""),
        ] {
            assert_eq!(parse_reply(text, &names), (name.map(str::to_owned), reply.to_owned()), "{text:?}");
        }
        assert_eq!(parse_reply("x", &[""]), (None, "x".into()));
    }

    #[test]
    fn mended_names_are_names() {
        for (name, mended) in [
            ("Ava", "Ava"),
            ("Dr. Ava Lee", "Dr. Ava Lee"),
            ("A\nB: C", "A B C"),
            ("C♯", "C"),
            ("User", "The User"),
            ("Ｕｓｅｒ", "The Ｕｓｅｒ"),
            ("＃＃＃ Response", "Response"),
            ("\u{200b}", "?"),
            ("", "?"),
        ] {
            assert_eq!(mend_name(name), mended, "{name:?}");
            check_name(mended).unwrap();
        }
    }

    #[test]
    fn bad_names() {
        for name in [
            "",
            " ",
            "Ava ",
            "A\nB",
            "A:B",
            "A：B",
            "User",
            "SYSTEM",
            "A\u{2028}B",
            "###",
            "＃＃＃ Response",
            "Ｕｓｅｒ",
            "Us\u{200b}er",
            "Аssistant",
            "\u{200b}",
            "A\u{2236}B",
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["Ava", "Dr. Ada Lovelace", "小明", "Jürgen", "Иван", "O'Neil"] {
            check_name(name).unwrap();
        }
    }
}
