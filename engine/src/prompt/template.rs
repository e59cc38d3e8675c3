//! Chat templates: the Jinja program that a checkpoint brings to write its own prompt.
//!
//! A template is code from a file, so it gets a budget: fuel for its steps and for the memory they take, a limit on what it
//! prints, and one on its values ([`super::bounded`]). It sees the messages and a clock, and can read and write nothing else. What it may use is what transformers
//! offers: `messages`, `add_generation_prompt`, `bos_token`, `eos_token`, `raise_exception`, `strftime_now`, methods of
//! Python's `str` and `dict`, and blocks that swallow the line end behind them (`trim_blocks`, `lstrip_blocks`).
//! Source: <https://github.com/huggingface/transformers/blob/main/src/transformers/utils/chat_template_utils.py>.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, State, Value, context};
use serde::Deserialize;
use serde_json::Value as Json;

use super::bounded::{Program, watch};
use super::depth;
use super::tojson::tojson;
use crate::error::{Error, Result};
use crate::file::file_bytes;
use crate::tokenizer::quietly;

/// Steps of a template, and 64 bytes of memory each (minijinja's measure): 32 MB, and up to four times that for a moment, since a
/// text that is padded exists in several stages.
const FUEL: u64 = 500_000;
/// What a template may print.
const MAX_OUTPUT: usize = 16 << 20;
/// A template itself is not longer than this.
const MAX_SOURCE: usize = 1 << 20;
/// The stack of the thread that a template is read and run on. A debug build takes less than a quarter of it at the bounds of
/// [`super::depth`].
const STACK: usize = 32 << 20;

/// Why a template gave nothing.
pub(super) enum Failure {
    /// The template called `raise_exception` with this.
    Raised(String),
    /// Anything else.
    Other(Error),
}

/// What the template sees.
pub(super) struct View<'a> {
    /// Role and content.
    pub(super) messages: &'a [(&'static str, String)],
    pub(super) add_generation_prompt: bool,
    pub(super) bos_token: &'a str,
    pub(super) eos_token: &'a str,
    pub(super) now: SystemTime,
}

/// The chat template of a checkpoint folder: `chat_template.jinja`, else the `chat_template` of `tokenizer_config.json` (of
/// several, the one named `default`). None when it has none.
///
/// # Errors
/// [`Error::Io`] and [`Error::Format`] for files that cannot be read.
pub fn read_chat_template(dir: &Path) -> Result<Option<String>> {
    if let Some(bytes) = file_bytes(dir, "chat_template.jinja")? {
        let text = String::from_utf8(bytes.into_owned()).map_err(|error| {
            Error::format(&dir.join("chat_template.jinja"), format!("expected UTF-8 text: {}", error.utf8_error()))
        })?;
        return Ok(Some(text));
    }
    let Some(bytes) = file_bytes(dir, "tokenizer_config.json")? else { return Ok(None) };
    chat_template_in(&bytes, &dir.join("tokenizer_config.json"))
}

/// The chat template that the bytes of a `tokenizer_config.json` hold; `path` is for messages.
///
/// # Errors
/// As [`read_chat_template`].
pub fn chat_template_in(bytes: &[u8], path: &Path) -> Result<Option<String>> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let Templates { chat_template } = serde_json::from_slice(bytes)
        .map_err(|error| Error::format(path, format!("tokenizer_config.json: not valid JSON: {error}")))?;
    match chat_template {
        Json::Null => Ok(None),
        Json::String(template) => Ok(Some(template)),
        Json::Array(list) => {
            let default = list.iter().find(|entry| entry["name"] == "default");
            match default.and_then(|entry| entry["template"].as_str()) {
                Some(template) => Ok(Some(template.to_owned())),
                None => Err(Error::format(path, "field `chat_template`: a list without one named \"default\"")),
            }
        }
        _ => Err(Error::format(path, "field `chat_template`: expected a string or a list")),
    }
}

/// What is read of `tokenizer_config.json`; the rest of it is skipped.
#[derive(Deserialize)]
struct Templates {
    #[serde(default)]
    chat_template: Json,
}

/// The text that `template` prints for `view`. It is read, run and dropped on a thread whose stack fits the bounds of
/// [`super::depth`].
pub(super) fn render(template: &str, view: &View<'_>) -> Result<String, Failure> {
    if template.len() > MAX_SOURCE {
        let detail = format!("chat template: {} bytes long; expected at most {MAX_SOURCE}", template.len());
        return Err(Failure::Other(Error::Prompt(detail)));
    }
    let failed = |detail: String| Err(Failure::Other(Error::Prompt(format!("chat template: {detail}"))));
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("guanaco template".into()).stack_size(STACK);
        match thread.spawn_scoped(scope, || quietly(|| render_here(template, view))) {
            Ok(thread) => match thread.join() {
                Ok(Ok(result)) => result,
                _ => failed("minijinja failed on this template".into()),
            },
            Err(error) => failed(format!("no thread with a stack of {STACK} bytes could be started: {error}")),
        }
    })
}

fn render_here(template: &str, view: &View<'_>) -> Result<String, Failure> {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(failure)?;
    let template = depth::checked(template, syntax.clone())
        .map_err(|refusal| Failure::Other(Error::Prompt(refusal.to_string())))?;
    let environment = environment(syntax.clone(), view.now);
    let messages: Vec<Value> =
        view.messages.iter().map(|(role, content)| context! { role => *role, content => content.as_str() }).collect();
    // What transformers gives to a template without being told: tools and documents are there, and none.
    let values = context! {
        messages => messages,
        tools => (),
        documents => (),
        add_generation_prompt => view.add_generation_prompt,
        bos_token => view.bos_token,
        eos_token => view.eos_token,
    };
    let text =
        Program::compile(&template, syntax).and_then(|program| program.run(&environment, values)).map_err(failure)?;
    if text.len() > MAX_OUTPUT {
        let detail = format!("chat template: it prints more than {MAX_OUTPUT} bytes");
        return Err(Failure::Other(Error::Prompt(detail)));
    }
    Ok(text)
}

fn environment(syntax: SyntaxConfig, now: SystemTime) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_syntax(syntax);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(64);
    environment.set_unknown_method_callback(method);
    environment.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, message).with_source(Raised))
    });
    environment.add_filter("tojson", tojson);
    // To minijinja, none is an empty list.
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_function("strftime_now", move |format: String| strftime(now, &format));
    // It prints every variable, and transformers has no such function.
    environment.remove_global("debug");
    watch(&mut environment);
    environment
}

/// Marks an error as the template's own.
#[derive(Debug, thiserror::Error)]
#[error("raised by the template")]
struct Raised;

fn failure(error: minijinja::Error) -> Failure {
    let raised = std::error::Error::source(&error).is_some_and(|source| source.is::<Raised>());
    if let (true, Some(message)) = (raised, error.detail()) {
        return Failure::Raised(message.to_owned());
    }
    Failure::Other(Error::Prompt(format!("chat template: {error}")))
}

/// Python's methods. Those whose result can be far larger than what they get go through filters, which are charged.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, minijinja::Error> {
    let is_text = value.as_str().is_some();
    match (name, args) {
        ("replace", [from, to]) if is_text => state.apply_filter("replace", &[value.clone(), from.clone(), to.clone()]),
        ("join", [list]) if is_text => state.apply_filter("join", &[list.clone(), value.clone()]),
        ("format", _) if is_text => Err(minijinja::Error::from(ErrorKind::UnknownMethod)),
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args),
    }
}

/// C's `strftime` in UTC and English, as far as templates use it.
fn strftime(now: SystemTime, format: &str) -> Result<String, minijinja::Error> {
    const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86400, seconds % 86400);
    let (year, month, day) = civil(days);
    let month_name = MONTHS[month as usize - 1];
    let day_name = DAYS[(days as usize + 4) % 7];
    let day_of_year = days - days_to(year) + 1;
    let mut out = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let plain = |n: u64, width: usize| format!("{n:0width$}");
        out.push_str(&match letters.next() {
            Some('Y') => plain(year, 4),
            Some('y') => plain(year % 100, 2),
            Some('m') => plain(month, 2),
            Some('d') => plain(day, 2),
            Some('j') => plain(day_of_year, 3),
            Some('H') => plain(rest / 3600, 2),
            Some('I') => plain((rest / 3600 + 11) % 12 + 1, 2),
            Some('M') => plain(rest / 60 % 60, 2),
            Some('S') => plain(rest % 60, 2),
            Some('p') => (if rest < 43200 { "AM" } else { "PM" }).to_owned(),
            Some('B') => month_name.to_owned(),
            Some('b') => month_name[..3].to_owned(),
            Some('A') => day_name.to_owned(),
            Some('a') => day_name[..3].to_owned(),
            Some('F') => format!("{year:04}-{month:02}-{day:02}"),
            Some('Z') => "UTC".to_owned(),
            Some('%') => "%".to_owned(),
            other => {
                let detail = format!("strftime_now: %{} is not supported", other.map_or(String::new(), String::from));
                return Err(minijinja::Error::new(ErrorKind::InvalidOperation, detail));
            }
        });
    }
    Ok(out)
}

/// Days since 1970 to the first of January of `year`.
fn days_to(year: u64) -> u64 {
    let y = year - 1;
    365 * (year - 1970) + (y / 4 - y / 100 + y / 400) - (1969 / 4 - 1969 / 100 + 1969 / 400)
}

/// Year, month and day of a day since 1970. Source: <https://howardhinnant.github.io/date_algorithms.html> (`civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn run(template: &str) -> Result<String, String> {
        let messages = [("system", "S".to_owned()), ("user", " hi\nthere ".to_owned())];
        let now = UNIX_EPOCH + Duration::from_secs(1_709_210_096);
        let view = View { messages: &messages, add_generation_prompt: true, bos_token: "<s>", eos_token: "</s>", now };
        render(template, &view).map_err(|failure| match failure {
            Failure::Raised(message) => format!("raised: {message}"),
            Failure::Other(error) => error.to_string(),
        })
    }

    #[test]
    fn what_transformers_templates_use() {
        for (template, expected) in [
            (
                "{{ bos_token }}{% for m in messages %}\n{{ m['role'] }}:{{ m.content | trim }}\n{% endfor %}",
                "<s>system:S\nuser:hi\nthere\n",
            ),
            ("  {% if add_generation_prompt %}\nA\n  {% endif %}\nB", "A\nB"),
            ("{{ messages[1]['content'].strip().split('\\n')[-1].upper() }}", "THERE"),
            ("{{ messages[1].content.replace('h', 'H').startswith(' Hi') }}", "True"),
            (
                "{% set ns = namespace(x=1) %}{% for m in messages %}{% set ns.x = ns.x + 1 %}{% endfor %}{{ ns.x }}",
                "3",
            ),
            ("{% for m in messages[1:] %}{{ loop.index0 }}{{ loop.last }}{% break %}{% endfor %}", "0True"),
            ("{{ messages[0].get('name', 'none') }}{{ ', '.join(['a', 'b']) }}", "nonea, b"),
            ("{% macro f(x) %}[{{ x }}]{% endmacro %}{{ f(eos_token) }}", "[</s>]"),
            ("{{ strftime_now('%d %b %Y %H:%M %A %j') }}", "29 Feb 2024 12:34 Thursday 060"),
            ("{{ tools is iterable }}{{ [] is iterable }}{{ {} is iterable }}{{ x is iterable }}", "FalseTrueTrueTrue"),
            ("{{ 'tools' is defined }}{{ tools is defined }}", "TrueTrue"),
            (
                "{% for a in [3, 4] %}{{ loop.index }}{% if a in [4] and 1 < a <= 4 %}!{% endif %}{% else %}-{% endfor %}",
                "12!",
            ),
            (
                "{{ 1 if [1, (2, 3)] == [1] + [(2, 3)] else 2 }}{% set x = [1, 2] %}{{ (x * 2)[1:][::-1] }}{{ (1, 2) }}",
                "1[2, 1, 2](1, 2)",
            ),
            (
                "{% macro f(x, y=[1]) %}{{ caller(x) }}{{ y }}{% endmacro %}{% call(z) f(2) %}{{ z }}{% endcall %}",
                "2[1]",
            ),
            ("{% for a in [[1, [2]], 3] recursive %}{{ loop(a) if a is iterable else a }}{% endfor %}", "123"),
            (
                "{% set ns = namespace(a=[]) %}{% for i in range(3) %}{% set ns.a = ns.a + [i] %}{% endfor %}{{ ns.a }}",
                "[0, 1, 2]",
            ),
            (
                "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %}{{ {'a': {'b': 1}}['a'].b }}",
                "a1b21",
            ),
            ("{% filter upper %}x{% endfilter %}{{ [1] | length }}{{ none is none }}", "X1True"),
        ] {
            assert_eq!(run(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn a_hostile_template_is_stopped() {
        for template in [
            "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
            "{% set ns = namespace(x='aaaaaaaa') %}{% for a in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
            "{% for a in range(90000) %}{{ 'a' * 10000 }}{% endfor %}",
            "{{ ('a' * 90000).replace('a', 'a' * 90000) }}",
            "{{ ('a' * 90000).join(range(90000) | list) }}",
            "{{ 'a' * 99999999 * 99999999 }}",
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "{{ '%99999999d' | format(1) }}",
            "{% include '/etc/passwd' %}",
            "{{ [1] * 99999999 }}",
            "{{ 3 in [1] * 99999999 }}",
            "{% if x %}{% macro f(a=[1] * 99999999 == 1) %}{% endmacro %}{% endif %}",
            "{% set x = [1] %}{{ (x * 99999999) == x * 99999999 }}",
            "{% set x = [1] * 99999999 %}{{ x == [1] * 99999999 }}",
            "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
            "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson }}",
            "{% set ns = namespace(x=[1]) %}{% for i in range(9000) %}{% set ns.x = [ns.x] %}{% endfor %}",
            "{% set ns = namespace(x={}) %}{% for i in range(9000) %}{% set ns.x = {'a': ns.x} %}{% endfor %}",
            "{% set ns = namespace(x=[1]) %}{% for i in range(9000) %}{% set ns.x = ns.x | batch(1) %}{% endfor %}",
            "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
            "{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns }}",
            "{% set ns = namespace() %}{% set ns.x = {'a': ns} %}{{ ns }}",
            "{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}{{ a }}",
            "{{ range(100000) | list | map('string') | zip(range(100000), range(100000)) | list }}",
            "{{ debug() }}",
            "{{ '%(ы' | format(1) }}",
            "{{ messages.__class__.__mro__ }}",
            "{% for",
        ] {
            let error = run(template).expect_err(template);
            assert!(error.contains("chat template"), "{template}: {error}");
        }
        assert_eq!(run("{{ raise_exception('no system') }}"), Err("raised: no system".into()));
    }

    /// Flat chains, each level of which is a level of the syntax tree.
    #[test]
    fn a_long_chain_is_refused_and_no_overflow() {
        let chain = |open: &str, link: &str, end: &str, size: usize| {
            format!("{open}{}{end}", link.repeat((size - open.len() - end.len()) / link.len()))
        };
        let kinds = [
            ("{{ ", "-", "1 }}"),
            ("{{ x", "~x", " }}"),
            ("{{ x", ".a", " }}"),
            ("{{ x", "|e", " }}"),
            ("{{ ", "not ", "x }}"),
            ("{{ x", " + x", " }}"),
            ("{{ x", "[0]", " }}"),
            ("{% if x %}", "{% elif x %}", "{% endif %}"),
            ("{{ ", "x if y else ", "x }}"),
            ("", "{% if x %}", ""),
            ("{{ ", "(", ""),
            ("{{ x", "(x)", " }}"),
            ("{{ x", " is x", " }}"),
            ("{{ x", "[1:][x]", " }}"),
            ("{{ x", " if x", " }}"),
            ("{% set x", ".a", " = 1 %}"),
            ("{% if x ", "and x ", "%}{% endif %}"),
        ];
        let run_all = move || {
            for (open, link, end) in kinds {
                for size in [21_000, 100_000, MAX_SOURCE] {
                    let error = run(&chain(open, link, end, size)).unwrap_err();
                    assert!(error.contains("levels deep; expected at most"), "{open}{link}: {error}");
                }
                // What is just allowed does not overflow the stack either, whatever comes of it.
                let _ = run(&chain(open, link, end, open.len() + end.len() + link.len() * 390));
                let _ = run(&chain(open, link, end, open.len() + end.len() + link.len() * 195));
            }
        };
        std::thread::Builder::new().stack_size(512 << 10).spawn(run_all).unwrap().join().unwrap();
    }

    #[test]
    fn side_files_are_read_with_care() {
        let dir = std::env::temp_dir().join(format!("guanaco-template-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let config = dir.join("tokenizer_config.json");
        assert_eq!(read_chat_template(&dir).unwrap(), None);
        for (text, expected) in [
            ("\u{feff}{\"junk\": [{}], \"chat_template\": \"A\"}", Ok(Some("A"))),
            (
                "{\"chat_template\": [{\"name\": \"tool\"}, {\"name\": \"default\", \"template\": \"B\"}]}",
                Ok(Some("B")),
            ),
            ("{\"chat_template\": null}", Ok(None)),
            ("{}", Ok(None)),
            ("{\"chat_template\": []}", Err("default")),
            ("{\"chat_template\": 1}", Err("expected a string")),
            ("{", Err("not valid JSON")),
        ] {
            std::fs::write(&config, text).unwrap();
            match (read_chat_template(&dir), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.as_deref(), expected, "{text}"),
                (Err(error), Err(word)) => assert!(error.to_string().contains(word), "{text}: {error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        let jinja = dir.join("chat_template.jinja");
        for (bytes, word) in [
            (vec![b' '; MAX_SOURCE + 1], "larger than 1 MiB"),
            (vec![0xff], "UTF-8"),
            (b"version https://git-lfs.github.com/spec/v1".to_vec(), "git-lfs"),
        ] {
            std::fs::write(&jinja, bytes).unwrap();
            let message = read_chat_template(&dir).unwrap_err().to_string();
            assert!(message.contains(word) && message.ends_with("chat_template.jinja"), "{message}");
        }
        #[cfg(unix)]
        {
            // Reading a pipe would wait for its writer, and /dev/zero never ends.
            std::fs::remove_file(&jinja).unwrap();
            let made = std::process::Command::new("mkfifo").arg(&jinja).status().unwrap();
            assert!(made.success());
            assert!(read_chat_template(&dir).unwrap_err().to_string().contains("regular file"));
            std::fs::remove_file(&jinja).unwrap();
            std::os::unix::fs::symlink("/dev/zero", &jinja).unwrap();
            assert!(read_chat_template(&dir).unwrap_err().to_string().contains("regular file"));
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!((days_to(1970), days_to(2024), days_to(2025)), (0, 19_723, 20_089));
    }
}
