//! The builder's own words, in the six languages of the model card. Everything else in a prompt is the user's.

use serde::{Deserialize, Serialize};

/// A language of the model card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Language {
    /// English.
    #[default]
    #[serde(rename = "en")]
    En,
    /// Simplified Chinese.
    #[serde(rename = "zh-CN")]
    ZhCn,
    /// Traditional Chinese, Taiwan.
    #[serde(rename = "zh-TW")]
    ZhTw,
    /// Traditional Chinese, Hong Kong.
    #[serde(rename = "zh-HK")]
    ZhHk,
    /// Japanese.
    #[serde(rename = "ja")]
    Ja,
    /// German.
    #[serde(rename = "de")]
    De,
}

impl Language {
    /// All six, in the order of the table.
    pub const ALL: [Self; 6] = [Self::En, Self::ZhCn, Self::ZhTw, Self::ZhHk, Self::Ja, Self::De];

    /// The tag: `en`, `zh-CN`, `zh-TW`, `zh-HK`, `ja`, `de`.
    pub fn tag(self) -> &'static str {
        ["en", "zh-CN", "zh-TW", "zh-HK", "ja", "de"][self as usize]
    }
}

impl std::fmt::Display for Language {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.tag())
    }
}

impl std::str::FromStr for Language {
    type Err = crate::Error;

    /// Reads a tag, with `-` or `_`, without regard to case; `zh` is `zh-CN`, `zh-Hant` is `zh-TW`, and an encoding or
    /// region that makes no difference is ignored (`de_AT.UTF-8`).
    fn from_str(tag: &str) -> Result<Self, Self::Err> {
        let plain = tag.split('.').next().unwrap_or(tag).replace('_', "-").to_ascii_lowercase();
        let mut parts = plain.split('-');
        let language = match (parts.next(), parts.next()) {
            (Some("en"), _) => Self::En,
            (Some("zh"), Some("tw" | "hant")) => Self::ZhTw,
            (Some("zh"), Some("hk" | "mo")) => Self::ZhHk,
            (Some("zh"), _) => Self::ZhCn,
            (Some("ja"), _) => Self::Ja,
            (Some("de"), _) => Self::De,
            _ => {
                let known = "expected one of en, zh-CN, zh-TW, zh-HK, ja, de";
                return Err(crate::Error::Prompt(format!("language: {known}, got {tag:?}")));
            }
        };
        Ok(language)
    }
}

/// A sentence or word of the builder. `{…}` are filled in by [`Term::with`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Term {
    /// The heading of a source with a link.
    SourceWithLink,
    /// The heading of a source without one.
    Source,
    /// Nothing in the System block backs the answer.
    NoSources,
    /// Markers in the text were quoted.
    Neutralised,
    /// Old messages left the prompt for the token budget.
    DroppedForBudget,
    /// Old messages left the prompt for the limit of turns.
    DroppedForDepth,
    /// The preset knows no history.
    NoHistorySlot,
    /// The preset knows no System block.
    NoSystemSlot,
    /// The chat template knows no system role.
    SystemInInput,
}

const TERMS: [(Term, [&str; 6]); 9] = [
    (
        Term::SourceWithLink,
        [
            "Source: {title} ({link})",
            "来源：{title}（{link}）",
            "來源：{title}（{link}）",
            "資料來源：{title}（{link}）",
            "出典：{title}（{link}）",
            "Quelle: {title} ({link})",
        ],
    ),
    (
        Term::Source,
        ["Source: {title}", "来源：{title}", "來源：{title}", "資料來源：{title}", "出典：{title}", "Quelle: {title}"],
    ),
    (
        Term::NoSources,
        [
            "No source was given: facts in the answer may be wrong. Add a source so that you can check them.",
            "未提供来源：回答中提到的事实可能有误。添加来源后，您就可以核对。",
            "未提供來源：回答中提到的事實可能有誤。加入來源後，您就可以查證。",
            "未有提供資料來源：回覆中提及的事實可能有錯。加入資料來源後，你便可以查證。",
            "出典が示されていません。回答に含まれる事実は誤っている可能性があります。出典を追加すると、内容を確認できます。",
            "Es wurde keine Quelle angegeben: Angaben in der Antwort können falsch sein. Fügen Sie eine Quelle hinzu, um sie prüfen zu können.",
        ],
    ),
    (
        Term::Neutralised,
        [
            "Text that looks like a marker of the prompt was quoted in {count} place(s), so that it cannot act as one.",
            "有 {count} 处文本形似提示词的标记，已加引用符号，使其不会被当作标记。",
            "有 {count} 處文字形似提示詞的標記，已加上引用符號，使其不會被當作標記。",
            "有 {count} 處文字似提示詞的標記，已加上引用符號，令它不會被當作標記。",
            "プロンプトの目印に見える文字列を {count} か所で引用の形に変え、目印として働かないようにしました。",
            "Text, der wie eine Markierung des Prompts aussieht, wurde an {count} Stelle(n) als Zitat gekennzeichnet, damit er nicht als solche wirkt.",
        ],
    ),
    (
        Term::DroppedForBudget,
        [
            "The {count} oldest message(s) no longer fit and were left out of the prompt.",
            "最早的 {count} 条消息已放不下，未写入提示词。",
            "最早的 {count} 則訊息已放不下，未寫入提示詞。",
            "最早的 {count} 則訊息已容納不下，沒有寫入提示詞。",
            "古いメッセージ {count} 件は収まらないため、プロンプトから省きました。",
            "Die {count} ältesten Nachrichten passen nicht mehr und wurden im Prompt weggelassen.",
        ],
    ),
    (
        Term::DroppedForDepth,
        [
            "{count} older message(s) lie beyond the history limit and were left out of the prompt.",
            "有 {count} 条较早的消息超出历史轮数限制，未写入提示词。",
            "有 {count} 則較早的訊息超出歷史輪數限制，未寫入提示詞。",
            "有 {count} 則較早的訊息超出對話紀錄上限，沒有寫入提示詞。",
            "履歴の上限を超えた古いメッセージ {count} 件をプロンプトから省きました。",
            "{count} ältere Nachrichten liegen jenseits der Verlaufsgrenze und wurden im Prompt weggelassen.",
        ],
    ),
    (
        Term::NoHistorySlot,
        [
            "The preset {preset} takes a single question: {count} earlier message(s) were left out.",
            "预设 {preset} 只接受单个问题：已略去之前的 {count} 条消息。",
            "預設格式 {preset} 只接受單一問題：已略去先前的 {count} 則訊息。",
            "預設格式 {preset} 只接受單一問題：已略去之前的 {count} 則訊息。",
            "プリセット {preset} は質問を一つだけ受け取ります。以前のメッセージ {count} 件を省きました。",
            "Die Vorlage {preset} nimmt nur eine einzelne Frage auf: {count} frühere Nachrichten wurden weggelassen.",
        ],
    ),
    (
        Term::NoSystemSlot,
        [
            "The preset {preset} has no place for a System block: it was left out.",
            "预设 {preset} 没有 System 块的位置：该块已略去。",
            "預設格式 {preset} 沒有 System 區塊的位置：該區塊已略去。",
            "預設格式 {preset} 沒有位置放 System 區塊：該區塊已略去。",
            "プリセット {preset} には System ブロックの場所がないため、省きました。",
            "Die Vorlage {preset} hat keinen Platz für einen System-Block: Er wurde weggelassen.",
        ],
    ),
    (
        Term::SystemInInput,
        [
            "The chat template has no system role: the System block stands in front of the new input.",
            "聊天模板没有 system 角色：System 块已放在新输入之前。",
            "聊天範本沒有 system 角色：System 區塊已放在新輸入之前。",
            "對話範本沒有 system 角色：System 區塊已放在新輸入前面。",
            "チャットテンプレートに system の役割がないため、System ブロックを新しい入力の前に置きました。",
            "Die Chat-Vorlage kennt keine system-Rolle: Der System-Block steht vor der neuen Eingabe.",
        ],
    ),
];

impl Term {
    /// The sentence in `language`, with its `{name}`s filled in. What is filled in is not looked through again.
    pub(super) fn with(self, language: Language, values: &[(&str, &str)]) -> String {
        let mut rest = TERMS[self as usize].1[language as usize];
        let mut out = String::new();
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            out.push_str(values.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value));
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&str> {
        let mut names: Vec<_> = text.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0)).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn no_translation_is_missing() {
        for (index, (term, texts)) in TERMS.iter().enumerate() {
            assert_eq!(*term as usize, index, "{term:?} is out of order");
            for (language, text) in Language::ALL.into_iter().zip(texts) {
                assert!(!text.trim().is_empty(), "{term:?} is missing in {language}");
                assert_eq!(names(text), names(texts[0]), "{term:?} in {language}");
                let own_script = text.chars().any(|c| ('\u{3040}'..='\u{9fff}').contains(&c));
                assert_eq!(
                    own_script,
                    !matches!(language, Language::En | Language::De),
                    "{term:?} in {language}: {text}"
                );
            }
            assert_ne!(texts[0], texts[5], "{term:?} is not translated to German");
        }
    }

    #[test]
    fn the_hint_at_a_source_takes_no_knowledge_of_prompts() {
        for language in Language::ALL {
            let hint = Term::NoSources.with(language, &[]);
            assert!(!hint.contains("System") && hint.chars().count() < 140, "{language}: {hint}");
            assert_eq!(
                hint.matches(['.', '。']).count(),
                if language == Language::Ja { 3 } else { 2 },
                "{language}: {hint}"
            );
        }
    }

    #[test]
    fn filled_in_text_is_not_expanded() {
        let values = [("title", "{link}"), ("link", "x")];
        assert_eq!(Term::SourceWithLink.with(Language::En, &values), "Source: {link} (x)");
    }

    #[test]
    fn tags() {
        for language in Language::ALL {
            assert_eq!(language.tag().parse::<Language>().unwrap(), language);
            assert_eq!(serde_json::to_value(language).unwrap(), language.tag());
        }
        assert_eq!("zh_TW.UTF-8".parse::<Language>().unwrap(), Language::ZhTw);
        assert!("fr".parse::<Language>().is_err());
    }
}
