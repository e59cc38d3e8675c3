//! The session on a model on paper, whose logits depend on every token that its slot holds.

mod ahead;
mod lookup;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::*;
use crate::sampler::{SamplerConfig, SamplerPreset};

/// The pieces of the test tokenizer; `<0x..>` are bytes of characters that have no piece.
const PIECES: [&str; 16] =
    ["<unk>", "<s>", "</s>", "a", "b", "aba", "bab", "▁Hi", "##", "#▁X", "\n", "<0xE4>", "<0xBD>", "<0xA0>", "好", "c"];
const BOS: u32 = 1;
const EOS: u32 = 2;

fn tokenizer() -> Tokenizer {
    let vocab: serde_json::Map<String, serde_json::Value> =
        PIECES.iter().zip(0..).map(|(piece, id)| ((*piece).to_owned(), json!(id))).collect();
    let special = |id: u32| {
        json!({"id": id, "content": PIECES[id as usize], "special": true, "single_word": false,
        "lstrip": false, "rstrip": false, "normalized": false})
    };
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [special(0), special(BOS), special(EOS)],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "vocab": vocab, "merges": []},
    });
    Tokenizer::from_json_bytes(file.to_string().as_bytes(), Path::new("tokenizer.json")).unwrap()
}

/// How the model on paper answers.
enum Script {
    /// Logits that are a hash of all tokens up to the position.
    Hash,
    /// Logits that favour what has followed the last token before: a text that goes round.
    Circle,
    /// The token that follows the prompt of this length, and the next ones.
    Say(usize, Vec<u32>),
}

struct Paper {
    script: Script,
    /// As many as the tokenizer has, or more.
    vocab_size: usize,
    slots: Vec<Vec<u32>>,
    max_seq_len: usize,
    chunk_len: usize,
    /// Tokens run so far.
    run: usize,
    /// The call of `forward` that fails, from 0.
    fails_at: Option<usize>,
    calls: usize,
    /// Drafts tested so far.
    passes: usize,
}

impl Paper {
    fn new(script: Script) -> Self {
        Self {
            script,
            vocab_size: PIECES.len(),
            slots: vec![Vec::new(); 4],
            max_seq_len: 64,
            chunk_len: 4,
            run: 0,
            fails_at: None,
            calls: 0,
            passes: 0,
        }
    }

    fn say(prompt_len: usize, ids: &[u32]) -> Session<Self> {
        Session::new(Self::new(Script::Say(prompt_len, ids.to_vec())))
    }

    fn hash() -> Session<Self> {
        Session::new(Self::new(Script::Hash))
    }
}

impl Forward for Paper {
    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn max_seq_len(&self) -> usize {
        self.max_seq_len
    }

    fn n_slots(&self) -> usize {
        self.slots.len()
    }

    fn chunk_len(&self) -> usize {
        self.chunk_len
    }

    fn forward(&mut self, _: Pass, slot: usize, pos: usize, tokens: &[u32], logits: &mut Vec<f32>) -> Result<()> {
        assert!(!tokens.is_empty() && tokens.len() <= self.chunk_len && pos + tokens.len() <= self.max_seq_len);
        let held = &mut self.slots[slot];
        assert!(pos <= held.len(), "position {pos} of slot {slot}, which holds {}", held.len());
        held.truncate(pos);
        self.calls += 1;
        if self.fails_at == Some(self.calls - 1) {
            // Half of the work is done, and wrong.
            held.push(u32::MAX);
            return Err(Error::NonFinite("the model failed".to_owned()));
        }
        held.extend_from_slice(tokens);
        self.run += tokens.len();
        *logits = match &self.script {
            Script::Hash => (0..self.vocab_size)
                .map(|id| {
                    let seen = held.iter().fold(id as u64, |hash, &token| {
                        (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(token)).rotate_left(23)
                    });
                    (seen % 1000) as f32 / 250.0
                })
                .collect(),
            Script::Circle => {
                let last = held.last().copied().unwrap_or_default();
                (0..self.vocab_size as u32)
                    .map(
                        |id| if id == 3 + (last * 5 + 1) % 13 { 9.0 } else { f32::from((id * 7 + last * 3) as u8 % 5) },
                    )
                    .collect()
            }
            Script::Say(prompt_len, ids) => {
                let next = ids.get(held.len() - prompt_len).copied();
                (0..self.vocab_size as u32).map(|id| if Some(id) == next { 5.0 } else { 0.0 }).collect()
            }
        };
        Ok(())
    }

    fn verify(&mut self, slot: usize, pos: usize, tokens: &[u32], logits: &mut Vec<f32>) -> Result<()> {
        assert!(tokens.len() > 1 && tokens.len() <= crate::model::MOST_VERIFIED);
        self.passes += 1;
        let mut row = Vec::new();
        logits.clear();
        for (token, pos) in tokens.iter().zip(pos..) {
            self.forward(Pass::Decode, slot, pos, &[*token], &mut row)?;
            logits.extend_from_slice(&row);
        }
        Ok(())
    }

    fn copy_slot(&mut self, from: usize, to: usize, len: usize) -> Result<()> {
        assert!(len <= self.slots[from].len());
        self.slots[to] = self.slots[from][..len].to_vec();
        Ok(())
    }
}

fn greedy(prompt: &[u32], max_new_tokens: usize) -> Request {
    Request { prompt_ids: prompt.to_vec(), sampler: SamplerConfig::greedy(), max_new_tokens, ..Request::default() }
}

/// The reply, and the texts that were shown on the way.
fn reply<F: Forward>(
    session: &mut Session<F>,
    request: &Request,
    tokenizer: Option<&Tokenizer>,
) -> (Reply, Vec<String>) {
    let mut shown = Vec::new();
    let reply = session.generate(request, tokenizer, &mut |event| {
        if let Event::Token { text, .. } | Event::Text { text } = event {
            shown.push(text.to_owned());
        }
        ControlFlow::Continue(())
    });
    (reply.unwrap(), shown)
}

fn ids_of(session: &mut Session<Paper>, request: &Request) -> Vec<u32> {
    reply(session, request, None).0.ids
}

#[test]
fn reuse_gives_the_same_tokens_and_runs_only_what_is_new() {
    let mut session = Paper::hash();
    let first = reply(&mut session, &greedy(&[1, 3, 4, 5, 6, 7], 5), None).0;
    assert_eq!((first.cached, first.new), (0, 6));
    assert_eq!(session.model().run, 6 + 4, "the last token is not run");

    // A second turn: what was said, and a new question.
    let mut prompt = vec![1, 3, 4, 5, 6, 7];
    prompt.extend(&first.ids);
    prompt.extend([8, 9]);
    let second = reply(&mut session, &greedy(&prompt, 6), None).0;
    // The reply's tokens were decoded, and are read again as a part of the prompt.
    assert_eq!((second.cached, second.new), (6, 7));
    assert_eq!(second.timings.prefill_tokens, 7);
    assert_eq!(second.ids, ids_of(&mut Paper::hash(), &greedy(&prompt, 6)));

    // The same prompt again: only its last token is run.
    let again = reply(&mut session, &greedy(&prompt, 6), None).0;
    assert_eq!((again.cached, again.new, again.ids), (12, 1, second.ids));

    // One that leaves the path early.
    let other = [1, 3, 4, 9, 9];
    let third = reply(&mut session, &greedy(&other, 6), None).0;
    assert_eq!((third.cached, third.new), (3, 2));
    assert_eq!(third.ids, ids_of(&mut Paper::hash(), &greedy(&other, 6)));

    session.clear();
    assert_eq!(reply(&mut session, &greedy(&other, 1), None).0.cached, 0);
}

#[test]
fn logits_are_those_of_the_last_token() {
    let mut session = Paper::hash();
    let whole = session.logits(&[1, 2, 3, 4, 5, 6]).unwrap().to_vec();
    let mut other = Paper::hash();
    other.logits(&[1, 2, 3]).unwrap();
    assert_eq!(other.logits(&[1, 2, 3, 4, 5, 6]).unwrap(), whole);
    assert_eq!(other.model().run, 6);
    assert!(other.logits(&[]).is_err());
}

#[test]
fn prefill_is_told_chunk_by_chunk() {
    let mut session = Paper::hash();
    session.logits(&[1, 3]).unwrap();
    let prompt: Vec<u32> = [1, 3].into_iter().chain(std::iter::repeat_n(4, 9)).collect();
    let mut told = Vec::new();
    let told_of = &mut |event: Event<'_>| {
        if let Event::Prefill { cached, new, done } = event {
            told.push((cached, new, done));
        }
        ControlFlow::Continue(())
    };
    session.generate(&greedy(&prompt, 1), None, told_of).unwrap();
    assert_eq!(told, [(2, 9, 0), (2, 9, 4), (2, 9, 8), (2, 9, 9)]);
}

#[test]
fn eos_ends_the_reply_and_is_not_shown() {
    let tokenizer = tokenizer();
    let mut session = Paper::say(2, &[7, 3, EOS, 4]);
    let (got, shown) = reply(&mut session, &Request { eos: vec![EOS], ..greedy(&[BOS, 10], 9) }, Some(&tokenizer));
    assert_eq!((got.ids, got.text.as_str(), got.finish), (vec![7, 3, EOS], " Hia", FinishReason::Eos));
    assert_eq!(shown, [" Hi", "a", ""]);

    let mut session = Paper::say(2, &[7, 3, EOS, 4]);
    let request = Request { eos: vec![EOS], ignore_eos: true, ..greedy(&[BOS, 10], 4) };
    let (got, _) = reply(&mut session, &request, Some(&tokenizer));
    assert_eq!((got.ids.len(), got.text.as_str(), got.finish), (4, " Hiab", FinishReason::MaxTokens));
}

#[test]
fn the_first_space_is_the_encoders_only_where_the_text_begins() {
    let tokenizer = tokenizer();
    let text = |prompt: &[u32]| reply(&mut Paper::say(prompt.len(), &[7]), &greedy(prompt, 1), Some(&tokenizer)).0.text;
    assert_eq!(text(&[BOS]), "Hi");
    assert_eq!(text(&[BOS, 3]), " Hi");
}

#[test]
fn ids_that_only_the_model_has_say_nothing() {
    let tokenizer = tokenizer();
    let padded = |prompt_len, said: &[u32]| {
        Session::new(Paper { vocab_size: PIECES.len() + 4, ..Paper::new(Script::Say(prompt_len, said.to_vec())) })
    };
    // In the prompt, between tokens, between the bytes of a character, and inside of a stop string.
    let request = Request { stop: vec!["##".to_owned()], ..greedy(&[BOS, 17, 3], 9) };
    let said = [7, 16, 19, 11, 18, 12, 13, 8, 3];
    let (got, shown) = reply(&mut padded(3, &said), &request, Some(&tokenizer));
    assert_eq!((got.ids.as_slice(), got.text.as_str()), (&said[..8], " Hi你"));
    assert_eq!(got.finish, FinishReason::StopString("##".to_owned()));
    assert_eq!(shown, [" Hi", "", "", "", "", "", "你", ""]);
    // Such an id is no text before the reply either.
    assert_eq!(reply(&mut padded(2, &[7]), &greedy(&[BOS, 17], 1), Some(&tokenizer)).0.text, "Hi");
    let beams = Request { num_beams: 2, ..greedy(&[BOS], 2) };
    assert_eq!(reply(&mut padded(1, &[16, 3]), &beams, Some(&tokenizer)).0.text, "a");
    let unknown = padded(1, &[]).generate(&greedy(&[BOS, 20], 1), Some(&tokenizer), &mut |_| ControlFlow::Continue(()));
    assert!(matches!(unknown, Err(Error::Request(_))));
}

#[test]
fn stop_strings_across_tokens_are_cut_and_never_shown() {
    let tokenizer = tokenizer();
    let said = |stops: &[&str], ids: &[u32]| {
        let stop = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let request = Request { stop, ..greedy(&[BOS, 3], ids.len()) };
        let (got, shown) = reply(&mut Paper::say(2, ids), &request, Some(&tokenizer));
        assert_eq!(shown.concat(), got.text, "what was shown is the text");
        (got.text, got.finish, got.ids.len())
    };
    let stop = |text: &str| FinishReason::StopString(text.to_owned());
    // "\n", "##", "# X": the stop string ends within the third token.
    assert_eq!(said(&["\n### "], &[3, 10, 8, 9, 3]), ("a".into(), stop("\n### "), 4));
    // "abab" in "ababab", as "aba" and "bab".
    assert_eq!(said(&["abab"], &[15, 5, 6, 15]), ("c".into(), stop("abab"), 3));
    // A character that comes byte by byte.
    assert_eq!(said(&["你好"], &[4, 11, 12, 13, 14, 3]), ("b".into(), stop("你好"), 5));
    assert_eq!(said(&["你好"], &[4, 11, 12, 13, 3]), ("b你a".into(), FinishReason::MaxTokens, 5));
    // Held back, then shown after all, as the reply ends.
    assert_eq!(said(&["\n###"], &[3, 10, 8]), ("a\n##".into(), FinishReason::MaxTokens, 3));
    // Half a character at the end becomes U+FFFD, which may even be a stop string.
    let (text, finish, _) = said(&[], &[3, 11]);
    assert!(text.starts_with("a\u{fffd}") && finish == FinishReason::MaxTokens, "{text:?}");
    assert_eq!(said(&["\u{fffd}"], &[3, 11]).1, stop("\u{fffd}"));
}

#[test]
fn tokens_come_with_their_chances_where_these_are_asked_for() {
    let chances = |alternatives| {
        let request = Request { alternatives, ..greedy(&[1, 3], 3) };
        let mut told = Vec::new();
        let reply = Paper::say(2, &[5, 7, 2]).generate(&request, None, &mut |event| {
            if let Event::Token { id, chances, .. } = event {
                told.push((id, chances.cloned()));
            }
            ControlFlow::Continue(())
        });
        assert_eq!(reply.unwrap().ids, [5, 7, 2]);
        told
    };
    assert!(chances(0).iter().all(|(_, chances)| chances.is_none()));
    for (id, told) in chances(4) {
        let told = told.unwrap();
        assert_eq!((told.best.len(), told.best[0]), (4, (id, told.chosen)));
        assert!(told.chosen > 0.5 && told.best[1].1 < 0.1);
    }
}

#[test]
fn a_break_ends_the_reply_and_the_session_goes_on() {
    let tokenizer = tokenizer();
    let request = Request { stop: vec!["\n###".to_owned()], ..greedy(&[BOS, 3], 6) };
    let mut session = Paper::say(2, &[3, 10, 8, 3, 3, 3]);
    let mut tokens = 0;
    let got = session.generate(&request, Some(&tokenizer), &mut |event| {
        tokens += usize::from(matches!(event, Event::Token { .. }));
        if tokens == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let got = got.unwrap();
    assert_eq!((got.finish, tokens, got.ids), (FinishReason::Stopped, 3, vec![3, 10, 8]));
    assert_eq!(got.text, "a", "a beginning of a stop string was never shown, so it is not part of a stopped reply");
    assert_eq!(session.cached(0), [BOS, 3, 3, 10]);
    let (got, _) = reply(&mut session, &request, Some(&tokenizer));
    assert_eq!((got.cached, got.text.as_str()), (1, "a\n##aaa"));
}

#[test]
fn a_break_or_the_flag_ends_the_prompt_between_two_chunks() {
    let prompt: Vec<u32> = std::iter::repeat_n(3, 10).collect();
    let mut session = Paper::hash();
    let got = session.generate(&greedy(&prompt, 5), None, &mut |event| match event {
        Event::Prefill { done: 8, .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    let got = got.unwrap();
    assert_eq!((got.finish, got.ids.len(), session.cached(0).len()), (FinishReason::Stopped, 0, 8));
    assert_eq!((got.timings.first_token, got.timings.decode_tok_per_s()), (None, None));

    let request = greedy(&prompt, 5);
    let flag: &AtomicBool = &request.stop_flag;
    let got = session.generate(&request, None, &mut |event| {
        flag.store(matches!(event, Event::Token { .. }), Ordering::Relaxed);
        ControlFlow::Continue(())
    });
    let got = got.unwrap();
    assert_eq!((got.finish, got.ids.len(), got.cached), (FinishReason::Stopped, 1, 8));

    request.stop_flag.store(false, Ordering::Relaxed);
    assert_eq!(ids_of(&mut session, &request), ids_of(&mut Paper::hash(), &greedy(&prompt, 5)));
}

#[test]
fn an_error_leaves_nothing_wrong_in_the_cache() {
    let prompt = [1, 3, 4, 5, 6, 7, 8, 9, 10];
    // The second chunk of the prompt, then a token of the reply.
    for fails_at in [1, 4] {
        let mut session = Paper::hash();
        session.slots = Slots::new(Paper { fails_at: Some(fails_at), ..Paper::new(Script::Hash) });
        let request = greedy(&prompt, 6);
        let error = session.generate(&request, None, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(error, Error::NonFinite(_)), "{error}");
        let held = session.model().slots[0].clone();
        assert!(held.starts_with(session.cached(0)), "{:?} is not what {held:?} begins with", session.cached(0));
        assert!(!session.cached(0).is_empty());
        assert_eq!(ids_of(&mut session, &request), ids_of(&mut Paper::hash(), &request));
    }
}

#[test]
fn limits_end_the_reply() {
    let mut session = Paper::hash();
    let none = reply(&mut session, &greedy(&[1, 3], 0), None).0;
    assert_eq!((none.ids.len(), none.finish), (0, FinishReason::MaxTokens));
    assert_eq!(session.cached(0), [1, 3], "the prompt is run all the same");
    let one = reply(&mut session, &greedy(&[1, 3], 1), None).0;
    assert_eq!((one.ids.len(), one.finish, one.timings.decode_tokens), (1, FinishReason::MaxTokens, 0));

    let mut session = Session::new(Paper { max_seq_len: 8, ..Paper::new(Script::Hash) });
    let request = |len: u32| greedy(&(0..len).collect::<Vec<_>>(), 100);
    let full = reply(&mut session, &request(5), None).0;
    assert_eq!((full.ids.len(), full.finish), (3, FinishReason::ContextFull));
    let full = reply(&mut session, &request(8), None).0;
    assert_eq!((full.ids.len(), full.finish), (0, FinishReason::ContextFull));
    let error = session.generate(&request(9), None, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(error.starts_with("prompt: expected at most 8 tokens (the context), got 9"), "{error}");
}

#[test]
fn requests_that_cannot_be_met_are_refused_before_anything_is_run() {
    let ok = greedy(&[1, 3], 3);
    let beams = |num_beams: usize| Request { num_beams, ..ok.clone() };
    let refused = [
        ("prompt: expected at least one token", Request { prompt_ids: Vec::new(), ..ok.clone() }),
        ("prompt: expected ids below 16", Request { prompt_ids: vec![1, 16], ..ok.clone() }),
        ("stop strings: expected none", Request { stop: vec!["a".to_owned()], ..ok.clone() }),
        ("num_beams: expected at least 1", beams(0)),
        ("num_beams: expected at most 4", beams(5)),
        ("num_beams: beam search draws nothing", Request { sampler: SamplerConfig::default(), ..beams(2) }),
        ("draft_tokens: expected at most 7", Request { draft_tokens: 8, ..ok.clone() }),
        ("draft_tokens: expected at most 0 with num_beams 2", Request { draft_tokens: 1, ..beams(2) }),
        ("num_return_sequences: expected 1 to num_beams (2)", Request { num_return_sequences: 3, ..beams(2) }),
        ("length_penalty", Request { length_penalty: f32::NAN, ..beams(2) }),
        (
            "sampling value `top_p`",
            Request { sampler: SamplerConfig { top_p: 2.0, ..SamplerConfig::greedy() }, ..ok.clone() },
        ),
    ];
    let mut session = Paper::hash();
    for (expected, request) in refused {
        let error = session.generate(&request, None, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(error, Error::Request(_)) && error.to_string().starts_with(expected), "{error}");
    }
    let empty = Request { stop: vec![String::new()], ..ok };
    let error = session.generate(&empty, Some(&tokenizer()), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("got an empty one"), "{error}");
    assert_eq!(session.model().calls, 0);
}

#[test]
fn a_seed_gives_its_reply_again() {
    let request = |seed: u64| {
        let sampler = SamplerConfig { seed, temperature: 1.5, ..SamplerPreset::Guanaco.config() };
        Request { sampler, ..greedy(&[1, 3, 4], 20) }
    };
    let mut session = Paper::hash();
    let first = ids_of(&mut session, &request(1));
    assert_ne!(first, ids_of(&mut session, &request(2)));
    assert_eq!(first, ids_of(&mut session, &request(1)), "reuse and another reply in between change nothing");
}

/// Beam search without slots: each beam's logits from a fresh model.
fn beams_without_slots(request: &Request) -> Vec<(Vec<u32>, f64)> {
    let chain = request.sampler.processors();
    let config = request.beam_config(request.max_new_tokens);
    let mut search = crate::sampler::BeamSearch::new(config, chain, &request.prompt_ids).unwrap();
    loop {
        let logits = |beam| Paper::hash().logits(search.history(beam)).unwrap().to_vec();
        let logits: Vec<Vec<f32>> = (0..search.n_running()).map(logits).collect();
        if search.advance(&logits, &mut |_| Ok(false)).unwrap() == crate::sampler::BeamStep::Done {
            return search.results().into_iter().map(|found| (found.ids, found.score)).collect();
        }
    }
}

#[test]
fn beams_share_slots_without_mixing_them_up() {
    let mut session = Paper::hash();
    for (num_beams, prompt) in [(4, vec![1, 3, 4, 5, 6]), (3, vec![1, 3, 9]), (2, vec![1, 3, 9, 10]), (4, vec![1])] {
        let request = Request { num_beams, num_return_sequences: num_beams, eos: vec![EOS], ..greedy(&prompt, 12) };
        let (got, _) = reply(&mut session, &request, None);
        let beams: Vec<_> = got.beams.iter().map(|beam| (beam.ids.clone(), beam.score)).collect();
        assert_eq!(beams, beams_without_slots(&request));
        assert_eq!((&got.ids, &got.finish), (&got.beams[0].ids, &got.beams[0].finish));
        for slot in 0..4 {
            assert!(session.model().slots[slot].starts_with(session.cached(slot)), "slot {slot}");
        }
        // Whatever slot the last search left what in, the next reply takes what fits.
        let mut next = prompt.clone();
        next.extend(&got.ids);
        assert_eq!(ids_of(&mut session, &greedy(&next, 5)), ids_of(&mut Paper::hash(), &greedy(&next, 5)));
    }
}

#[test]
fn beams_end_at_stop_strings_limits_and_breaks() {
    let tokenizer = tokenizer();
    let request = |num_beams: usize, max_new_tokens: usize| Request {
        stop: vec!["aab".to_owned(), "###".to_owned()],
        num_beams,
        num_return_sequences: num_beams,
        ..greedy(&[BOS, 3, 5], max_new_tokens)
    };
    // Said by every beam that follows the script: "c", "##", "# X".
    let mut session = Paper::say(3, &[15, 8, 9, 3, 3, 3]);
    let (got, shown) = reply(&mut session, &request(2, 6), Some(&tokenizer));
    assert_eq!((got.text.as_str(), &got.finish), ("c", &FinishReason::StopString("###".to_owned())));
    assert_eq!((shown.concat(), got.ids), (got.text, vec![15, 8, 9]));

    let (got, _) = reply(&mut Paper::hash(), &request(4, 0), Some(&tokenizer));
    assert_eq!((got.ids.len(), got.beams.len(), got.finish), (0, 0, FinishReason::MaxTokens));
    let mut small = Session::new(Paper { max_seq_len: 6, ..Paper::new(Script::Hash) });
    let (got, _) = reply(&mut small, &request(3, 50), Some(&tokenizer));
    assert!(got.beams.iter().any(|beam| beam.ids.len() == 3 && beam.finish == FinishReason::ContextFull));

    let mut session = Paper::hash();
    let got = session.generate(&request(3, 20), Some(&tokenizer), &mut |event| match event {
        Event::BeamStep { len: 4 } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    let got = got.unwrap();
    assert_eq!((got.finish, got.beams.len()), (FinishReason::Stopped, 3));
    assert_eq!(ids_of(&mut session, &greedy(&[1, 3, 5], 5)), ids_of(&mut Paper::hash(), &greedy(&[1, 3, 5], 5)));
}

#[test]
fn an_error_in_a_beam_leaves_nothing_wrong_in_the_cache() {
    let request = Request { num_beams: 4, num_return_sequences: 4, ..greedy(&[1, 3, 4], 8) };
    for fails_at in 1..20 {
        let mut session = Session::new(Paper { fails_at: Some(fails_at), ..Paper::new(Script::Hash) });
        assert!(session.generate(&request, None, &mut |_| ControlFlow::Continue(())).is_err());
        for slot in 0..4 {
            assert!(session.model().slots[slot].starts_with(session.cached(slot)), "slot {slot}");
        }
        let (got, _) = reply(&mut session, &request, None);
        assert_eq!(got.beams, reply(&mut Paper::hash(), &request, None).0.beams);
    }
}

#[test]
fn a_boxed_model_is_a_model() {
    let boxed: Box<dyn Forward + Send> = Box::new(Paper::new(Script::Hash));
    let got = reply(&mut Session::new(boxed), &greedy(&[1, 3], 4), None).0;
    assert_eq!(got.ids, ids_of(&mut Paper::hash(), &greedy(&[1, 3], 4)));
}
