//! A reply with drafts is the reply without.

use super::*;

/// Every way of choosing that a draft might disturb.
fn samplers() -> Vec<SamplerConfig> {
    let drawn = SamplerPreset::Guanaco.config();
    vec![
        SamplerConfig::greedy(),
        SamplerPreset::Reference.config(),
        drawn.clone(),
        SamplerConfig { temperature: 2.0, top_k: 0, top_p: 1.0, repetition_penalty: 1.0, ..drawn.clone() },
        SamplerConfig { typical_p: 0.8, ..drawn.clone() },
        SamplerConfig { no_repeat_ngram: 3, ..drawn },
        SamplerConfig { no_repeat_ngram: 2, ..SamplerConfig::greedy() },
    ]
}

/// All that a reply shows and leaves behind.
fn all_of(session: &mut Session<Paper>, request: &Request, tokenizer: Option<&Tokenizer>) -> (Reply, Vec<String>) {
    let mut told = Vec::new();
    let reply = session.generate(request, tokenizer, &mut |event| {
        told.push(format!("{event:?}"));
        ControlFlow::Continue(())
    });
    let mut reply = reply.unwrap();
    told.push(format!("{:?}", session.cached(0)));
    assert!(session.model().slots[0].starts_with(session.cached(0)), "the books have more than the cache");
    reply.timings = Timings { decode_tokens: reply.timings.decode_tokens, ..Timings::default() };
    (reply, told)
}

/// The same requests in two sessions, with drafts of each length and without; tokens drafted and accepted.
fn compare(script: fn() -> Script, requests: &[Request], tokenizer: Option<&Tokenizer>) -> [usize; 2] {
    let (mut drafted, mut accepted) = (0, 0);
    for draft_tokens in [1, 2, 5, 7] {
        let session = || Session::new(Paper { max_seq_len: 96, chunk_len: 8, ..Paper::new(script()) });
        let (mut plain, mut fast) = (session(), session());
        for request in requests {
            let (expected, expected_told) = all_of(&mut plain, request, tokenizer);
            let with_drafts = Request { draft_tokens, ..request.clone() };
            let (got, told) = all_of(&mut fast, &with_drafts, tokenizer);
            assert!(got.accepted <= got.drafted && got.accepted <= got.ids.len());
            (drafted, accepted) = (drafted + got.drafted, accepted + got.accepted);
            assert_eq!(Reply { drafted: 0, accepted: 0, ..got }, expected, "{with_drafts:?}");
            assert_eq!(told, expected_told, "{with_drafts:?}");
        }
    }
    [drafted, accepted]
}

#[test]
fn drafts_change_no_token_of_any_sampler_and_seed() {
    let mut requests = Vec::new();
    for sampler in samplers() {
        for seed in 0..4 {
            for prompt in [vec![1, 3, 4, 5, 3, 4], vec![1, 3, 4, 3, 4, 3, 4, 3], vec![1]] {
                let sampler = SamplerConfig { seed, ..sampler.clone() };
                requests.push(Request { sampler, alternatives: 2, ..greedy(&prompt, 40) });
            }
        }
    }
    let [drafted, accepted] = compare(|| Script::Hash, &requests, None);
    assert!(drafted > 500 && accepted < drafted / 2, "{accepted} of {drafted}");
    // Where a text goes round in circles, drafts hold, drawn ones too.
    let [drafted, accepted] = compare(|| Script::Circle, &requests, None);
    assert!(accepted > drafted / 2 && accepted < drafted, "{accepted} of {drafted}");
}

#[test]
fn a_reply_ends_where_it_ends_without_drafts() {
    let tokenizer = tokenizer();
    let mut requests = Vec::new();
    for sampler in samplers() {
        for max_new_tokens in [0, 1, 2, 3, 7, 12, 200] {
            let request = Request { sampler: sampler.clone(), ..greedy(&[BOS, 3, 4, 3, 4], max_new_tokens) };
            for stop in ["ab", "ba", "\n", "cab"] {
                requests.push(Request { stop: vec![stop.to_owned()], ..request.clone() });
            }
            for eos in [2, 3, 4, 9, 15] {
                requests.push(Request { eos: vec![eos], ..request.clone() });
                requests.push(Request { eos: vec![eos], ignore_eos: true, ..request.clone() });
            }
        }
    }
    for script in [|| Script::Hash, || Script::Circle] {
        let [drafted, accepted] = compare(script, &requests, Some(&tokenizer));
        assert!(accepted > 100 && accepted < drafted, "{accepted} of {drafted}");
    }
}

#[test]
fn a_copied_text_takes_few_passes_and_a_new_one_few_drafts() {
    let said: Vec<u32> = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15].repeat(3);
    let prompt: Vec<u32> = [BOS].into_iter().chain(said[..15].iter().copied()).collect();
    let mut session =
        Session::new(Paper { max_seq_len: 99, chunk_len: 16, ..Paper::new(Script::Say(16, said[2..].to_vec())) });
    let request = Request { draft_tokens: 7, ..greedy(&prompt, 37) };
    let copied = reply(&mut session, &request, None).0;
    assert_eq!(copied.ids, said[2..]);
    // The first draft has four tokens, and each pass chooses one behind its draft.
    assert_eq!((copied.drafted, copied.accepted), (31, 31));
    assert_eq!(session.model().passes, 5);

    // Each token has come before, and never is what followed it what follows now.
    let new: Vec<u32> = (1..13).flat_map(|step| (0..13).map(move |at| 3 + at * step % 13)).collect();
    let mut session = Session::new(Paper { max_seq_len: 400, ..Paper::new(Script::Say(1, new.clone())) });
    let unlike = reply(&mut session, &Request { draft_tokens: 7, ..greedy(&[BOS], new.len()) }, None).0;
    assert_eq!(unlike.ids, new);
    assert!(unlike.drafted < new.len() / 5 && unlike.accepted < 10, "{unlike:?}");
}

#[test]
fn an_error_in_a_draft_leaves_nothing_wrong_in_the_cache() {
    let request = Request { draft_tokens: 7, ..greedy(&[1, 3, 4, 3, 4, 3, 4], 30) };
    let script = || Script::Circle;
    let expected = ids_of(&mut Session::new(Paper::new(script())), &request);
    for fails_at in 0..20 {
        let mut session = Session::new(Paper { fails_at: Some(fails_at), ..Paper::new(script()) });
        // A row behind a token that is not chosen may be run, and fail, too.
        if session.generate(&request, None, &mut |_| ControlFlow::Continue(())).is_err() {
            assert!(session.model().slots[0].starts_with(session.cached(0)), "call {fails_at}");
            assert_eq!(ids_of(&mut session, &request), expected);
        }
    }
}

#[test]
fn a_break_within_a_draft_ends_the_reply_there() {
    let request = Request { draft_tokens: 7, ..greedy(&[1, 3, 4, 3, 4, 3, 4], 30) };
    let mut session = Session::new(Paper::new(Script::Circle));
    let whole = ids_of(&mut session, &request);
    for len in 1..20 {
        let mut tokens = 0;
        let got = session.generate(&request, None, &mut |event| {
            tokens += usize::from(matches!(event, Event::Token { .. }));
            if tokens == len { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(got.unwrap().ids, whole[..len]);
        assert!(session.model().slots[0].starts_with(session.cached(0)));
        assert_eq!(session.cached(0).len(), request.prompt_ids.len() + len - 1);
    }
}
