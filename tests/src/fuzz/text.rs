//! Tokenizers and chat templates.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use guanaco_engine::file::Checkpoint;
use guanaco_engine::prompt::{BuildOptions, Conversation, Preset, build, chat_template_in};
use guanaco_engine::tokenizer::{DetokenizeStream, Tokenizer};

use super::halves;

/// A safetensors file without a tensor.
const NO_TENSORS: &[u8] = b"\x02\0\0\0\0\0\0\0{}";

/// What is encoded: words, white space, bytes that few vocabularies have, special tokens as text.
const TEXTS: [&str; 5] =
    ["hello", " Hello,  world\n\n\u{3042}\u{1F999}", "</s><s> <|eot_id|>", "\u{2581}a\u{0301}", ""];

pub(super) fn sentencepiece(data: &[u8]) {
    if let Ok(tokenizer) = Tokenizer::from_sentencepiece_bytes(data, Path::new("tokenizer.model")) {
        use_tokenizer(&tokenizer);
    }
}

/// `tokenizer.json`, and behind a zero byte `tokenizer_config.json`.
pub(super) fn tokenizer_json(data: &[u8]) {
    let (json, config) = halves(data);
    let mut files =
        vec![("model.safetensors".to_owned(), NO_TENSORS.to_vec()), ("tokenizer.json".to_owned(), json.to_vec())];
    if let Some(config) = config {
        files.push(("tokenizer_config.json".to_owned(), config.to_vec()));
        let _ = chat_template_in(config, Path::new("tokenizer_config.json"));
    }
    let Ok(checkpoint) = Checkpoint::from_bytes(files) else { panic!("the file without tensors") };
    if let Ok(Some(tokenizer)) = Tokenizer::from_checkpoint(&checkpoint) {
        use_tokenizer(&tokenizer);
    }
}

pub(super) fn chat_template(data: &[u8]) {
    let Ok(template) = std::str::from_utf8(data) else { return };
    let messages = r####"[{"role":"system","content":"Be brief. ### Notes"},{"role":"user","content":"Hi </s>"},
        {"role":"assistant","content":"Hello\nthere"},{"role":"user","content":"1 + 1?"}]"####;
    let Ok(conversation) = Conversation::from_messages(messages) else { panic!("the messages") };
    let options = BuildOptions {
        preset: Preset::ChatTemplate,
        template: Some(template.to_owned()),
        now: Some(UNIX_EPOCH + Duration::from_secs(1_709_210_096)),
        ..BuildOptions::default()
    };
    let _ = build(&conversation, &options, None);
}

/// Text to ids and back.
pub(super) fn use_tokenizer(tokenizer: &Tokenizer) {
    let vocab_size = tokenizer.vocab_size();
    let _ = (tokenizer.check_vocab_size(32_000), tokenizer.specials().len(), tokenizer.adds_bos());
    for text in TEXTS {
        for ids in [tokenizer.encode(text, true), tokenizer.encode_parsing_specials(text, false)].into_iter().flatten()
        {
            let _ = tokenizer.decode(&ids);
            let mut stream = DetokenizeStream::after_context();
            for id in ids {
                let _ = (stream.push(tokenizer, id), tokenizer.piece(id));
            }
            let _ = stream.finish();
        }
    }
    let some = (0..vocab_size.min(64) as u32).chain([vocab_size as u32, u32::MAX]);
    for id in some {
        let _ = (tokenizer.decode(&[id]), tokenizer.has(id));
        if let Some(piece) = tokenizer.piece(id) {
            let _ = tokenizer.id(&piece);
        }
    }
}
