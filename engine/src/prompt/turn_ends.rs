//! Tokens that end a turn, recognized by their text.

use crate::tokenizer::Tokenizer;

/// The spelling of tokens that end a turn or a text in the chat formats of LLaMA's kin. A file may name another token as its
/// EOS, as spring 2024's Llama 3 files do, and its model still ends a turn with one of these.
///
/// Source: the lists of end-of-turn and end-of-generation tokens in llama.cpp's `src/llama-vocab.cpp`.
pub(super) const TURN_ENDS: [&str; 22] = [
    "</s>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<|end_of_turn|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<|eos|>",
    "<turn|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<｜end▁of▁sentence｜>",
];

/// The ids of the special tokens of `tokenizer` that end a turn by their text, in ascending order. A model that was trained in
/// one chat format ends its reply with its token in any other format, too.
pub fn turn_end_ids(tokenizer: &Tokenizer) -> Vec<u32> {
    let specials = tokenizer.specials().iter();
    let mut ids: Vec<u32> =
        specials.filter(|(name, _)| TURN_ENDS.contains(&name.as_str())).map(|(_, id)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
