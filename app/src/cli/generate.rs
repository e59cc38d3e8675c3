//! `guanaco generate`: one reply to a text or to ids.

use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context as _, bail, ensure};
use guanaco_engine::prompt::Notice;
use guanaco_engine::sampler::EarlyStopping;
use guanaco_engine::session::{BeamResult, FinishReason, Reply, Request, Timings};
use serde::Serialize;

use super::driver::Driver;
use super::input::{self, Ids};
use super::sampling::{LookupArgs, MAX_NEW_TOKENS, PromptArgs, SamplingArgs, parse};
use super::{Globals, Interrupted, note, output, wrong_usage};
use crate::chat::{Chat, Turn, reply_text};

/// Generates a reply to a text, or to token ids
#[derive(clap::Args, Debug)]
#[command(
    group = clap::ArgGroup::new("what").required(true).args(["prompt", "ids"]),
    after_help = "\
Examples:
  guanaco generate --chat --prompt 'Hello, I am Robin.'
  guanaco generate --chat --system @notes.txt --prompt 'Where does Luma live?' --greedy
  guanaco generate --prompt @story.txt --max-new-tokens 100 --seed 7
  echo 'Once upon a time' | guanaco generate --prompt -
  guanaco generate --ids 1,270,262 --greedy --ignore-eos --max-new-tokens 16 --json
  guanaco generate --chat --prompt @letter.txt --prompt-lookup
  guanaco generate --ids 1,270,262 --num-beams 4 --num-return-sequences 4 --json

--json: {\"prompt_ids\":[…],\"ids\":[the new ones],\"text\":\"…\",\"finish\":\"eos\" | \"max_tokens\" | \"context_full\" |
  \"stopped\" | {\"stop_string\":\"…\"},\"cached\":N,\"new\":N,\"drafted\":N,\"accepted\":N,\"seed\":N,\"timings\":{\"prefill_s\":…,\"prefill_tokens\":N,
  \"prefill_tok_per_s\":…,\"decode_s\":…,\"decode_tokens\":N,\"decode_tok_per_s\":…,\"first_token_s\":…},
  \"beams\":[{\"ids\":[…],\"text\":\"…\",\"score\":…,\"finish\":…}], with --chat also \"prompt\":\"…\",\"notices\":[…],
  and \"name\":\"…\" when the text begins with the name of --character}
Ctrl-C ends the reply: what there is of it is printed, and the exit code is 130."
)]
pub struct Args {
    /// The text: itself, @FILE, or - for stdin
    #[arg(long, short, value_name = "TEXT|@FILE|-", allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// The prompt as token ids, BOS included: 1,2,3
    #[arg(long, value_name = "IDS", allow_hyphen_values = true)]
    ids: Option<Ids>,
    /// Puts the text into the chat format (see --preset); otherwise it goes to the model as it is
    #[arg(long, conflicts_with = "ids")]
    pub chat: bool,
    /// Leaves BOS out in front of a raw text
    #[arg(long, conflicts_with_all = ["ids", "chat"])]
    pub no_bos: bool,
    /// The most new tokens
    #[arg(long, short = 'n', value_name = "N", default_value_t = MAX_NEW_TOKENS)]
    pub max_new_tokens: usize,
    /// Ends the reply before this text; may be given more than once
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub stop: Vec<String>,
    /// Token ids that end the reply, in place of the checkpoint's own
    #[arg(long, value_name = "IDS")]
    eos: Option<Ids>,
    /// Goes on after tokens that end a reply
    #[arg(long)]
    pub ignore_eos: bool,
    /// Searches with N beams in place of drawing
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub num_beams: u64,
    /// Beam search: above 0 favours long sequences, below 0 short ones
    #[arg(long, value_name = "X", default_value_t = 1.0, allow_hyphen_values = true, requires = "num_beams")]
    pub length_penalty: f32,
    /// Beam search: `true` ends it as soon as as many sequences have ended as there are beams, `never` only when no better
    /// one can come; the flag alone is `true`
    #[arg(long, value_name = "WHEN", default_value = "false", default_missing_value = "true", num_args = 0..=1,
        require_equals = true, requires = "num_beams", value_parser = parse::<EarlyStopping>)]
    pub early_stopping: EarlyStopping,
    /// Beam search: how many sequences to print, best first
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub num_return_sequences: usize,
    #[command(flatten)]
    prompt_args: PromptArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    lookup: LookupArgs,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    prompt_ids: &'a [u32],
    ids: &'a [u32],
    text: &'a str,
    finish: &'a FinishReason,
    cached: usize,
    new: usize,
    drafted: usize,
    accepted: usize,
    seed: u64,
    timings: TimingsReport,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    beams: &'a [BeamResult],
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notices: &'a [Notice],
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// Durations in seconds, rates in tokens a second; null where nothing was measured.
#[derive(Serialize)]
struct TimingsReport {
    prefill_s: f64,
    prefill_tokens: usize,
    prefill_tok_per_s: Option<f64>,
    decode_s: f64,
    decode_tokens: usize,
    decode_tok_per_s: Option<f64>,
    first_token_s: Option<f64>,
}

impl From<&Timings> for TimingsReport {
    fn from(timings: &Timings) -> Self {
        Self {
            prefill_s: timings.prefill.as_secs_f64(),
            prefill_tokens: timings.prefill_tokens,
            prefill_tok_per_s: timings.prefill_tok_per_s(),
            decode_s: timings.decode.as_secs_f64(),
            decode_tokens: timings.decode_tokens,
            decode_tok_per_s: timings.decode_tok_per_s(),
            first_token_s: timings.first_token.map(|time| time.as_secs_f64()),
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// What is wrong with the input, the checkpoint, the device or the request.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<()> {
    let text = args.prompt.as_deref().map(input::text).transpose()?;
    ensure!(text.as_ref().is_none_or(|text| !text.is_empty()), "the prompt is empty");
    if let Some(flag) = args.prompt_args.given().filter(|_| !args.chat) {
        return Err(wrong_usage(
            "generate",
            format!("{flag} needs --chat: otherwise the text goes to the model as it is"),
        ));
    }
    args.prompt_args.check("generate")?;
    let num_beams = usize::try_from(args.num_beams)?;
    let model = globals.open_files()?;
    let preset = args.prompt_args.preset.unwrap_or_default();
    let sampling = args.sampling.clone().for_model(globals.model.is_none());
    let sampler = sampling.config(num_beams == 1, model.sampling_for(preset));
    args.sampling.check(&sampler).map_err(|message| wrong_usage("generate", message))?;
    sampler.validate()?;
    let mut chat = Chat::new(sampler, args.max_new_tokens);
    args.prompt_args.apply(&mut chat.conversation)?;
    chat.preset = preset;

    let (mut request, prompt) = match (text, &args.ids) {
        (Some(text), _) if args.chat => {
            let pending = chat.prepare(Turn::Say(text), &model)?;
            for notice in pending.prompt.notices.iter().filter(|_| !args.json) {
                note::sentences(&notice.text);
            }
            (pending.request, Some(pending.prompt))
        }
        (Some(text), _) => {
            let tokenizer = model.tokenizer.as_ref().with_context(|| no_tokenizer(&model.name))?;
            let prompt_ids = tokenizer.encode(&text, tokenizer.adds_bos() && !args.no_bos)?;
            (Request { prompt_ids, eos: model.eos.clone(), ..Request::default() }, None)
        }
        (None, ids) => {
            let prompt_ids = ids.as_ref().map(|ids| ids.0.clone()).unwrap_or_default();
            (Request { prompt_ids, eos: model.eos.clone(), ..Request::default() }, None)
        }
    };
    request.sampler = chat.sampler.clone();
    request.max_new_tokens = args.max_new_tokens;
    request.stop.extend(args.stop);
    if let Some(Ids(eos)) = args.eos {
        request.eos = eos;
    }
    request.ignore_eos = args.ignore_eos;
    request.num_beams = num_beams;
    request.length_penalty = args.length_penalty;
    request.early_stopping = args.early_stopping;
    request.num_return_sequences = args.num_return_sequences;
    request.draft_tokens = args.lookup.draft_tokens();

    // A 7B takes minutes to load: what is wrong with the request is said before.
    model.check(&request, num_beams)?;
    let mut driver = Driver::load(globals, model.clone(), num_beams)?;

    let prompt_ids = request.prompt_ids.clone();
    let seed = request.sampler.seed;
    let streams = !args.json && model.tokenizer.is_some() && args.num_return_sequences == 1;
    if streams {
        print(prompt.as_ref().and_then(|prompt| prompt.reply_prefix.as_deref()).unwrap_or_default())?;
    }
    let mut begun = !args.chat || prompt.as_ref().is_some_and(|prompt| prompt.reply_prefix.is_some());
    // White space at the end of a chat's reply is not part of it: it is printed once more text follows.
    let mut held = String::new();
    let reply = driver.generate(request, &mut |text| {
        let text = if begun { text } else { text.trim_start() };
        begun = begun || !text.is_empty();
        if !streams {
            return Ok(());
        }
        held.push_str(text);
        let whole = if args.chat { held.trim_end().len() } else { held.len() };
        print(&held[..whole])?;
        held.drain(..whole);
        Ok(())
    })?;
    if args.json {
        let text = prompt.as_ref().map_or_else(|| reply.text.clone(), |prompt| reply_text(prompt, &reply.text));
        output::json(&Report {
            prompt_ids: &prompt_ids,
            ids: &reply.ids,
            text: &text,
            finish: &reply.finish,
            cached: reply.cached,
            new: reply.new,
            drafted: reply.drafted,
            accepted: reply.accepted,
            seed,
            timings: TimingsReport::from(&reply.timings),
            beams: &reply.beams,
            prompt: prompt.as_ref().map(|prompt| prompt.text.as_str()),
            notices: prompt.as_ref().map_or(&[], |prompt| &prompt.notices),
            name: chat.speaker(&text),
        })?;
    } else if streams {
        print("\n")?;
    } else {
        print_sequences(&reply, model.tokenizer.is_some())?;
    }
    if !args.json && std::io::stderr().is_terminal() {
        note::dim(&format!("{} · seed {seed}", stats(&reply)));
    }
    if reply.finish == FinishReason::Stopped {
        bail!(Interrupted);
    }
    Ok(())
}

/// Text on stdout at once.
pub(super) fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn print_sequences(reply: &Reply, has_text: bool) -> std::io::Result<()> {
    let mut out = output::stdout();
    let best =
        [BeamResult { ids: reply.ids.clone(), text: reply.text.clone(), score: 0.0, finish: reply.finish.clone() }];
    let sequences = if reply.beams.is_empty() { &best[..] } else { &reply.beams };
    for sequence in sequences {
        if has_text {
            writeln!(out, "{:.4}\t{}", sequence.score, output::shown(&sequence.text))?;
        } else {
            let ids: Vec<String> = sequence.ids.iter().map(u32::to_string).collect();
            writeln!(out, "{}", ids.join(","))?;
        }
    }
    out.flush()
}

/// What text in and out needs.
pub(super) fn no_tokenizer(model: &str) -> String {
    format!("{model} has no tokenizer (neither tokenizer.json nor tokenizer.model): give token ids with --ids")
}

/// A reply's figures on one line.
pub(super) fn stats(reply: &Reply) -> String {
    let mut parts = vec![format!("{} cached, {} new", reply.cached, reply.new)];
    if let Some(first) = reply.timings.first_token {
        parts.push(format!("first token after {:.2} s", first.as_secs_f64()));
    }
    if let Some(rate) = reply.timings.decode_tok_per_s() {
        parts.push(format!("{rate:.1} tok/s"));
    }
    if reply.drafted > 0 {
        let share = reply.accepted as f64 / reply.drafted as f64 * 100.0;
        parts.push(format!("{} of {} drafted tokens held ({share:.0} %)", reply.accepted, reply.drafted));
    }
    parts.push(match &reply.finish {
        FinishReason::Eos => format!("{} tokens", reply.ids.len()),
        other => format!("{} tokens, {other}", reply.ids.len()),
    });
    parts.join(" · ")
}
