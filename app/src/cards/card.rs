//! A card: its JSON as it came, with typed ways in.

use serde_json::{Map, Value, json};

use super::error::{CardError, Named};
use super::{convert, json};

/// A version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Six fields at the root.
    V1,
    /// `chara_card_v2`.
    V2,
    /// `chara_card_v3`.
    V3,
}

impl Version {
    /// The word in the field `spec`; V1 has none.
    pub fn spec(self) -> Option<&'static str> {
        match self {
            Self::V1 => None,
            Self::V2 => Some("chara_card_v2"),
            Self::V3 => Some("chara_card_v3"),
        }
    }

    /// The newest `spec_version` that is known.
    pub(super) fn number(self) -> f64 {
        self as usize as f64 + 1.0
    }
}

/// A field that is one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Text {
    /// The character's name.
    Name,
    /// What the character is called: stands for `{{char}}`.
    Nickname,
    /// Who the character is.
    Description,
    /// A summary of the personality.
    Personality,
    /// Where and when.
    Scenario,
    /// The first message.
    FirstMessage,
    /// Example conversations, each behind `<START>`.
    Examples,
    /// What heads the System block.
    SystemPrompt,
    /// What ends the System block, which stands behind the history.
    PostHistory,
    /// For people, never in the prompt.
    CreatorNotes,
    /// Who made the card.
    Creator,
    /// The creator's version of the card.
    CharacterVersion,
}

impl Text {
    /// All of them, in the order in which an editor shows them.
    pub const ALL: [Self; 12] = [
        Self::Name,
        Self::Nickname,
        Self::Description,
        Self::Personality,
        Self::Scenario,
        Self::FirstMessage,
        Self::Examples,
        Self::SystemPrompt,
        Self::PostHistory,
        Self::CreatorNotes,
        Self::Creator,
        Self::CharacterVersion,
    ];

    /// The key in the JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Nickname => "nickname",
            Self::Description => "description",
            Self::Personality => "personality",
            Self::Scenario => "scenario",
            Self::FirstMessage => "first_mes",
            Self::Examples => "mes_example",
            Self::SystemPrompt => "system_prompt",
            Self::PostHistory => "post_history_instructions",
            Self::CreatorNotes => "creator_notes",
            Self::Creator => "creator",
            Self::CharacterVersion => "character_version",
        }
    }

    /// The oldest version that has it.
    pub fn since(self) -> Version {
        match self {
            Self::Nickname => Version::V3,
            _ if convert::V1_KEYS.contains(&self.key()) => Version::V1,
            _ => Version::V2,
        }
    }
}

/// A field that is a list of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum List {
    /// Other first messages: swipes.
    AlternateGreetings,
    /// Other first messages where several characters are.
    GroupOnlyGreetings,
    /// For sorting, never in the prompt.
    Tags,
    /// Where the card comes from.
    Source,
}

impl List {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::AlternateGreetings, Self::GroupOnlyGreetings, Self::Tags, Self::Source];

    /// The key in the JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::AlternateGreetings => "alternate_greetings",
            Self::GroupOnlyGreetings => "group_only_greetings",
            Self::Tags => "tags",
            Self::Source => "source",
        }
    }

    /// The oldest version that has it.
    pub fn since(self) -> Version {
        match self {
            Self::AlternateGreetings | Self::Tags => Version::V2,
            Self::GroupOnlyGreetings | Self::Source => Version::V3,
        }
    }
}

/// An entry of V3's list of assets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetLink {
    /// `icon`, `background`, `emotion`, `user_icon`, or another.
    pub kind: String,
    /// `embeded://…`, `ccdefault:`, `data:…`, `__asset:…`, or an address that is never fetched.
    pub uri: String,
    /// `main` for the icon that is the portrait.
    pub name: String,
    /// The file extension, without a dot.
    pub ext: String,
}

impl AssetLink {
    /// The path in a CHARX archive.
    pub fn embedded(&self) -> Option<&str> {
        self.uri.strip_prefix("embeded://").or_else(|| self.uri.strip_prefix("embedded://"))
    }

    /// Whether it points to another machine; such assets are left alone.
    pub fn is_remote(&self) -> bool {
        let scheme = self.uri.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        !matches!(scheme.as_deref(), None | Some("embeded" | "embedded" | "ccdefault" | "data" | "__asset"))
    }
}

/// A character card of any version.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    raw: Map<String, Value>,
    version: Version,
}

impl Card {
    /// An empty V3 card of that name.
    pub fn new(name: &str) -> Self {
        let root = json!({ "name": name, "first_mes": "" });
        let raw = match root {
            Value::Object(root) => convert::to(&root, Version::V1, Version::V3),
            _ => Map::new(),
        };
        Self { raw, version: Version::V3 }
    }

    /// Reads a card that [`Card::json`] wrote, or any other JSON of a card, without the warnings of [`Card::read`].
    ///
    /// # Errors
    /// [`CardError`] as of [`Card::read`].
    pub fn from_json(json: &str) -> Result<Self, CardError> {
        let file = Named("card.json");
        super::read::from_map(json::object(json.as_bytes(), file)?, file, &mut Vec::new())
    }

    pub(super) fn from_parts(raw: Map<String, Value>, version: Version) -> Self {
        Self { raw, version }
    }

    /// The version that it is kept in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// All of its JSON, as it came but for what was set.
    pub fn raw(&self) -> &Map<String, Value> {
        &self.raw
    }

    /// All of its JSON as text, in the version that it is kept in: what a store keeps.
    pub fn json(&self) -> String {
        Value::Object(self.raw.clone()).to_string()
    }

    /// Its JSON in `version`. Fields that the version does not know stay, as unknown ones.
    pub fn to_json(&self, version: Version) -> String {
        let map = convert::to(&self.raw, self.version, version);
        serde_json::to_string_pretty(&Value::Object(map)).unwrap_or_default()
    }

    /// The same card kept in `version`; nothing is lost.
    pub fn converted(&self, version: Version) -> Self {
        Self { raw: convert::to(&self.raw, self.version, version), version }
    }

    /// The object that holds the fields: the root in V1, `data` in the others.
    pub fn data(&self) -> &Map<String, Value> {
        match self.version {
            Version::V1 => &self.raw,
            _ => self.raw.get("data").and_then(Value::as_object).unwrap_or(&self.raw),
        }
    }

    /// Changes the fields. The card becomes at least of the version `since`.
    pub(super) fn edit<T>(&mut self, since: Version, change: impl FnOnce(&mut Map<String, Value>) -> T) -> T {
        if self.version < since {
            *self = self.converted(since);
        }
        if self.version == Version::V1 {
            return change(&mut self.raw);
        }
        let mut data = match self.raw.remove("data") {
            Some(Value::Object(data)) => data,
            _ => Map::new(),
        };
        let result = change(&mut data);
        self.raw.insert("data".to_owned(), data.into());
        result
    }

    /// A text; empty where there is none.
    pub fn text(&self, field: Text) -> &str {
        self.data().get(field.key()).and_then(Value::as_str).unwrap_or_default()
    }

    /// Sets a text. Copies of it that other programs keep at the root are set too.
    pub fn set_text(&mut self, field: Text, text: &str) {
        let key = field.key();
        self.edit(field.since(), |data| data.insert(key.to_owned(), text.into()));
        if self.version != Version::V1
            && let Some(copy) = self.raw.get_mut(key).filter(|copy| copy.is_string())
        {
            *copy = text.into();
        }
    }

    /// A list of texts; what is no text in it is passed over.
    pub fn list(&self, field: List) -> Vec<&str> {
        let list = self.data().get(field.key()).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Sets a list of texts. What was no text in it stays, behind them.
    pub fn set_list<T: AsRef<str>>(&mut self, field: List, list: &[T]) {
        self.edit(field.since(), |data| {
            let before = data.get(field.key()).and_then(Value::as_array);
            let others = before.into_iter().flatten().filter(|other| !other.is_string()).cloned();
            let list: Value = list.iter().map(|text| text.as_ref().into()).chain(others).collect();
            data.insert(field.key().to_owned(), list);
        });
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.text(Text::Name)
    }

    /// What `{{char}}` stands for: the nickname, or else the name.
    pub fn called(&self) -> &str {
        let nickname = self.text(Text::Nickname);
        if nickname.trim().is_empty() { self.name() } else { nickname }
    }

    /// Notes for people in the language of a tag (`en`, `zh-TW`), or else the plain ones. They are never in the prompt.
    pub fn creator_notes(&self, tag: &str) -> &str {
        let code = tag.split(['-', '_']).next().unwrap_or(tag).to_ascii_lowercase();
        let notes = self.data().get("creator_notes_multilingual").and_then(Value::as_object);
        let find = |code: &str| notes.and_then(|notes| notes.get(code)).and_then(Value::as_str);
        let plain = Some(self.text(Text::CreatorNotes)).filter(|plain| !plain.is_empty());
        find(&code).or_else(|| if code == "en" { plain } else { None }).or(plain).or_else(|| find("en")).unwrap_or("")
    }

    /// What other programs keep in the card, by their names; None where there is nothing.
    pub fn extensions(&self) -> Option<&Map<String, Value>> {
        self.data().get("extensions").and_then(Value::as_object)
    }

    /// Sets one extension, by a name that says whose it is; null takes it away.
    pub fn set_extension(&mut self, key: &str, value: Value) {
        self.edit(Version::V2, |data| {
            let mut extensions = match data.remove("extensions") {
                Some(Value::Object(extensions)) => extensions,
                _ => Map::new(),
            };
            match value {
                Value::Null => drop(extensions.remove(key)),
                value => drop(extensions.insert(key.to_owned(), value)),
            }
            data.insert("extensions".into(), extensions.into());
        });
    }

    /// The lorebook's JSON; [`super::Lorebook::of`] reads it.
    pub fn character_book(&self) -> Option<&Map<String, Value>> {
        self.data().get("character_book").and_then(Value::as_object)
    }

    /// Sets the lorebook's JSON; None takes it away.
    pub fn set_character_book(&mut self, book: Option<Map<String, Value>>) {
        self.edit(Version::V2, |data| match book {
            Some(book) => drop(data.insert("character_book".into(), book.into())),
            None => drop(data.remove("character_book")),
        });
    }

    /// V3's assets; one `ccdefault:` icon where the card lists none.
    pub fn assets(&self) -> Vec<AssetLink> {
        let text = |asset: &Value, key: &str| asset.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        match self.data().get("assets").and_then(Value::as_array) {
            Some(assets) => assets
                .iter()
                .map(|asset| AssetLink {
                    kind: text(asset, "type"),
                    uri: text(asset, "uri"),
                    name: text(asset, "name"),
                    ext: text(asset, "ext"),
                })
                .collect(),
            None => {
                vec![AssetLink {
                    kind: "icon".into(),
                    uri: "ccdefault:".into(),
                    name: "main".into(),
                    ext: "png".into(),
                }]
            }
        }
    }

    /// The icon that is the portrait: the one named `main`, or else the first.
    pub fn main_icon(&self) -> Option<AssetLink> {
        let mut icons: Vec<_> = self.assets().into_iter().filter(|asset| asset.kind == "icon").collect();
        let main = icons.iter().position(|icon| icon.name == "main").unwrap_or(0);
        (main < icons.len()).then(|| icons.swap_remove(main))
    }

    /// Adds an asset, or points the one of the same kind and name elsewhere.
    pub fn set_asset(&mut self, link: &AssetLink) {
        let same = |asset: &Value| asset["type"] == link.kind.as_str() && asset["name"] == link.name.as_str();
        self.edit(Version::V3, |data| {
            let mut assets = match data.remove("assets") {
                Some(Value::Array(assets)) => assets,
                _ => Vec::new(),
            };
            match assets.iter_mut().find(|asset| same(asset)).and_then(Value::as_object_mut) {
                Some(asset) => {
                    asset.insert("uri".into(), link.uri.as_str().into());
                    asset.insert("ext".into(), link.ext.as_str().into());
                }
                None => {
                    assets.push(json!({ "type": link.kind, "uri": link.uri, "name": link.name, "ext": link.ext }));
                }
            }
            data.insert("assets".into(), assets.into());
        });
    }

    /// When it was made and last changed, in seconds since 1970 (UTC); None where the card does not say, or says 0.
    pub fn dates(&self) -> (Option<i64>, Option<i64>) {
        let date = |key| {
            let value = self.data().get(key)?;
            let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64));
            seconds.filter(|&seconds| seconds != 0)
        };
        (date("creation_date"), date("modification_date"))
    }

    /// Says that the card was made at `now`, in seconds since 1970 (UTC).
    pub fn date(&mut self, now: i64) {
        self.edit(Version::V3, |data| data.insert("creation_date".into(), now.into()));
        self.touch(now);
    }

    /// Says that the card was changed at `now`, in seconds since 1970 (UTC). Before V3 there are no dates: such a card stays as it is.
    pub fn touch(&mut self, now: i64) {
        if self.version >= Version::V3 {
            self.edit(Version::V3, |data| data.insert("modification_date".into(), now.into()));
        }
    }
}
