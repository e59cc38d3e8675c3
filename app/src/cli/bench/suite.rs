//! Which tests are run: one whose lengths were asked for, or the suite, as far as the context holds it.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::Args;

/// One test: `prompt` tokens, and `new` ones decoded behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens decoded behind it.
    pub new: usize,
    /// Whether the prompt's time is of interest. If not, it is run once, and only what stands behind it again and again.
    pub times_prompt: bool,
}

/// A test that was not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// What it lacks.
    pub why: String,
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub tests: Vec<Test>,
    /// Of the suite, what is not run.
    pub left_out: Vec<LeftOut>,
    /// Positions that the model is loaded with.
    pub context: usize,
    /// Whether `--context` says so: then no test is dropped to make it smaller.
    pub fixed: bool,
}

/// The suite: llama-bench's pp and tg, and decoding from longer contexts.
const SUITE: [Test; 6] = [
    Test { prompt: 128, new: 0, times_prompt: true },
    Test { prompt: 512, new: 0, times_prompt: true },
    Test { prompt: 2048, new: 0, times_prompt: true },
    Test { prompt: 1, new: 128, times_prompt: false },
    Test { prompt: 512, new: 128, times_prompt: false },
    Test { prompt: 4096, new: 128, times_prompt: false },
];

impl Test {
    /// Positions that it takes. The last token that is chosen takes one too; a prompt alone can do without that token.
    pub fn need(&self) -> usize {
        self.prompt + if self.new > 0 { self.new + 1 } else { 0 }
    }

    /// What its prompt is called, as in llama-bench: `pp512`.
    pub fn prompt_name(&self) -> String {
        format!("pp{}", self.prompt)
    }

    /// What its reply is called: `tg128`, or `tg128@4096` behind 4096 tokens. One token is no context: decoding needs it to begin.
    pub fn reply_name(&self) -> String {
        if self.prompt > 1 { format!("tg{}@{}", self.new, self.prompt) } else { format!("tg{}", self.new) }
    }

    fn name(&self) -> String {
        if self.times_prompt { self.prompt_name() } else { self.reply_name() }
    }
}

impl Plan {
    /// The tests for a model of `max_seq_len` positions.
    ///
    /// # Errors
    /// When what was asked for does not fit.
    pub fn new(args: &Args, context: Option<usize>, max_seq_len: usize) -> anyhow::Result<Self> {
        let room = context.unwrap_or(max_seq_len);
        let limit = if context.is_some() { "--context" } else { "the model's" };
        if args.prompt_tokens.is_some() || args.new_tokens.is_some() {
            return Self::single(args, context.is_some(), room, limit);
        }
        let (tests, rest): (Vec<_>, Vec<_>) = SUITE.into_iter().partition(|test| test.need() <= room);
        let out = |test: &Test| {
            let why = format!("it needs a context of {}, there are {room} ({limit})", test.need());
            LeftOut { name: test.name(), why }
        };
        let left_out = rest.iter().map(out).collect();
        if tests.is_empty() {
            return Ok(Self { left_out, ..Self::single(args, context.is_some(), room, limit)? });
        }
        let context = if context.is_some() { room } else { Self::least_context(&tests, room) };
        Ok(Self { tests, left_out, context, fixed: context == room && limit == "--context" })
    }

    /// One token more than the longest prompt, where there is room, so that it has a first token.
    fn least_context(tests: &[Test], room: usize) -> usize {
        tests.iter().map(|test| test.need().max(test.prompt + 1)).max().unwrap_or(1).min(room)
    }

    /// The one test whose lengths were asked for; a length that was not is 512 or 128, less where the context is short.
    fn single(args: &Args, fixed: bool, room: usize, limit: &str) -> anyhow::Result<Self> {
        let asked = |tokens: Option<u32>| tokens.map(|tokens| tokens as usize);
        // Four parts of prompt to one of reply where the defaults are too long.
        let free = room.saturating_sub(1);
        let new = asked(args.new_tokens)
            .unwrap_or_else(|| 128.min(free.saturating_sub(asked(args.prompt_tokens).unwrap_or(free - free / 5))));
        let prompt = asked(args.prompt_tokens).unwrap_or_else(|| 512.min(free.saturating_sub(new)).max(1));
        let need = prompt + new + 1;
        ensure!(
            need <= room,
            "{prompt} tokens of prompt and {new} behind it need a context of {need}, there are {room} ({limit}); ask for fewer \
             with -p and -n"
        );
        let tests = vec![Test { prompt, new, times_prompt: true }];
        Ok(Self { tests, left_out: Vec::new(), context: if fixed { room } else { need }, fixed })
    }

    /// Without the tests that need the longest context, which the device has no memory for; false when nothing would be left, or
    /// the context was asked for.
    pub fn shrink(&mut self) -> bool {
        let longest = self.tests.iter().map(Test::need).max().unwrap_or_default();
        if self.fixed || self.tests.iter().all(|test| test.need() == longest) {
            return false;
        }
        let (rest, tests) = std::mem::take(&mut self.tests).into_iter().partition(|test| test.need() == longest);
        self.tests = tests;
        let why = format!("the device has no memory for a context of {}", self.context);
        self.left_out.extend(Vec::into_iter(rest).map(|test: Test| LeftOut { name: test.name(), why: why.clone() }));
        self.context = Self::least_context(&self.tests, self.context);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(prompt: Option<u32>, new: Option<u32>, context: Option<usize>, max: usize) -> Result<Plan, String> {
        let args = Args { prompt_tokens: prompt, new_tokens: new, runs: 1, ..Args::default() };
        Plan::new(&args, context, max).map_err(|error| error.to_string())
    }

    fn single(
        prompt: Option<u32>,
        new: Option<u32>,
        context: Option<usize>,
        max: usize,
    ) -> Result<(usize, usize, usize), String> {
        let plan = plan(prompt, new, context, max)?;
        let [test] = plan.tests.as_slice() else { return Err(format!("{plan:?}")) };
        Ok((test.prompt, test.new, plan.context))
    }

    #[test]
    fn a_length_that_was_not_asked_for_fits_the_context() {
        assert_eq!(single(Some(512), None, None, 2048), Ok((512, 128, 641)));
        assert_eq!(single(None, Some(128), Some(1024), 2048), Ok((512, 128, 1024)));
        assert_eq!(single(Some(90), None, None, 101), Ok((90, 10, 101)));
        assert_eq!(single(None, Some(90), None, 101), Ok((10, 90, 101)));
        assert_eq!(single(Some(1), Some(0), None, 101), Ok((1, 0, 2)));
        // A model too short for the whole suite.
        assert_eq!(single(None, None, None, 101), Ok((80, 20, 101)));
        assert_eq!(single(None, None, None, 2), Ok((1, 0, 2)));
    }

    #[test]
    fn lengths_that_were_asked_for_are_kept_or_refused() {
        let refused = single(Some(64), Some(64), None, 101).unwrap_err();
        assert!(refused.contains("need a context of 129, there are 101 (the model's)"), "{refused}");
        let refused = single(Some(64), Some(64), Some(100), 2048).unwrap_err();
        assert!(refused.contains("there are 100 (--context)"), "{refused}");
        assert!(single(Some(u32::MAX), Some(u32::MAX), None, 2048).is_err());
        assert!(single(None, None, None, 1).is_err());
        assert_eq!(single(Some(4000), Some(8), Some(4096), 2048), Ok((4000, 8, 4096)));
    }

    #[test]
    fn the_suite_leaves_out_what_the_context_does_not_hold_and_says_why() {
        let names = |plan: &Plan| plan.tests.iter().map(Test::name).collect::<Vec<_>>();
        let all = plan(None, None, None, 8192).unwrap();
        assert_eq!(names(&all), ["pp128", "pp512", "pp2048", "tg128", "tg128@512", "tg128@4096"]);
        assert_eq!((all.context, all.left_out.len()), (4225, 0));
        let llama = plan(None, None, None, 2048).unwrap();
        assert_eq!(names(&llama), ["pp128", "pp512", "pp2048", "tg128", "tg128@512"]);
        assert_eq!(llama.context, 2048);
        let why = "it needs a context of 4225, there are 2048 (the model's)".to_owned();
        assert_eq!(llama.left_out, [LeftOut { name: "tg128@4096".to_owned(), why }]);
        let small = plan(None, None, None, 1024).unwrap();
        assert_eq!((names(&small).join(" "), small.context), ("pp128 pp512 tg128 tg128@512".into(), 641));
        let asked = plan(None, None, Some(600), 8192).unwrap();
        assert_eq!((asked.context, asked.left_out.len()), (600, 3));
        assert!(asked.left_out[0].why.contains("(--context)"), "{asked:?}");
    }

    #[test]
    fn without_memory_the_longest_context_goes_first() {
        let mut suite = plan(None, None, None, 8192).unwrap();
        assert!(suite.shrink());
        assert_eq!((suite.tests.len(), suite.context, suite.left_out.len()), (5, 2049, 1));
        assert!(suite.left_out[0].why.contains("no memory for a context of 4225"), "{suite:?}");
        assert!(suite.shrink() && suite.shrink() && suite.shrink() && suite.shrink());
        assert_eq!((suite.tests.len(), suite.context), (1, 129));
        assert!(!suite.shrink());
        assert!(!plan(None, None, Some(2048), 8192).unwrap().shrink(), "the context was asked for");
    }
}
