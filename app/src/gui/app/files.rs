//! Files that come to the window, dropped or chosen in a dialog, and files that it writes.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use eframe::egui;

use super::Open;
use crate::desk::News;
use crate::desk::files::{Existing, is_chat};
use crate::gui::dialog::{Answer, Ask, Purpose};
use crate::gui::page::Page;
use crate::gui::text::Texts;

/// The largest file that is taken as a source.
const MOST_SOURCE_BYTES: u64 = 4 << 20;

impl Open {
    /// Takes what was dropped on the window: cards and chats, portraits while a character is open, texts as sources, models and LoRAs.
    pub(super) fn dropped(&mut self, ctx: &egui::Context) {
        let files = ctx.input_mut(|input| std::mem::take(&mut input.raw.dropped_files));
        for file in files {
            let path = file.path().to_owned();
            let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
            let told = match extension.as_deref() {
                Some("jsonl") => self.desk.import_chat(&path).map(|()| self.page = Page::Chat),
                // Everything else in JSON is a card: its reader says what it is when it is none.
                Some("json") if is_chat(&path) => self.desk.import_chat(&path).map(|()| self.page = Page::Chat),
                Some("png" | "jpg" | "jpeg" | "webp") if self.is_portrait(&path) => self.portrait(&path),
                Some("png" | "apng" | "jpg" | "jpeg" | "webp" | "json" | "charx") => {
                    self.library.take_card(&mut self.desk, &path);
                    self.page = Page::Library;
                    Ok(())
                }
                Some("txt" | "md" | "markdown" | "text") => self.source(&path),
                _ => {
                    self.models.drop_path(&mut self.desk, &path);
                    self.page = Page::Models;
                    Ok(())
                }
            };
            self.tell(told);
        }
    }

    /// Takes the answers of dialogs.
    pub(super) fn chosen(&mut self, t: &Texts) {
        for (ask, answer) in self.dialogs.answers() {
            match answer {
                Answer::Chosen(paths) => {
                    for path in paths {
                        let told = self.take(ask.purpose, &path, Existing::Replace, t);
                        self.tell(told);
                    }
                }
                Answer::Cancelled => {}
                Answer::NotShown(reason) => self.not_shown(ask, &reason, t),
            }
        }
    }

    /// Says that there is no dialog; what was to be saved goes to the place that was proposed, and replaces nothing there.
    fn not_shown(&mut self, ask: Ask, reason: &str, t: &Texts) {
        let reason = [("reason", reason.into())];
        match ask.place {
            None => self.news.push(News::Warning(t.with("common-no-dialog", &reason))),
            Some(place) => {
                self.news.push(News::Warning(t.with("common-no-dialog-save", &reason)));
                let told = self.take(ask.purpose, &place, Existing::Keep, t);
                self.tell(told);
            }
        }
    }

    /// Does with `path` what it was asked for; `existing` is for what is to be saved.
    fn take(&mut self, purpose: Purpose, path: &Path, existing: Existing, t: &Texts) -> anyhow::Result<()> {
        match purpose {
            Purpose::Cards => _ = self.library.take_card(&mut self.desk, path),
            Purpose::Chat => {
                self.desk.import_chat(path)?;
                self.page = Page::Chat;
            }
            Purpose::ModelFile | Purpose::ModelFolder => self.models.open(&mut self.desk, path),
            Purpose::Lora => self.models.add_lora(&mut self.desk, path),
            Purpose::Sources => self.source(path)?,
            Purpose::Portrait(id) => self.desk.set_portrait(id, path)?,
            Purpose::SaveCard(id, kind) => {
                let (path, existing) = with_extension(path, existing, purpose);
                let path = self.desk.export_card(id, kind, &path, existing)?;
                self.news.push(News::Done(path.display().to_string()));
            }
            Purpose::SaveChat(id, kind) => {
                let (path, existing) = with_extension(path, existing, purpose);
                let names = (t.get("chat-you"), t.get("chat-assistant"));
                let path = self.desk.export_chat(id, kind, names, &path, existing)?;
                self.news.push(News::Done(path.display().to_string()));
            }
        }
        Ok(())
    }

    fn tell(&mut self, told: anyhow::Result<()>) {
        if let Err(error) = told {
            self.news.push(News::Failed(format!("{error:#}")));
        }
    }

    /// Whether a picture that is dropped is for the open character: none is open on another page, and a card is a card.
    fn is_portrait(&self, path: &Path) -> bool {
        self.page == Page::Library && self.library.open().is_some() && !crate::desk::library::is_card(path)
    }

    fn portrait(&mut self, path: &Path) -> anyhow::Result<()> {
        let Some(id) = self.library.open() else { return Ok(()) };
        self.desk.set_portrait(id, path)
    }

    fn source(&mut self, path: &Path) -> anyhow::Result<()> {
        let size = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
        if size > MOST_SOURCE_BYTES {
            anyhow::bail!(
                "{}: a source of {size} bytes; expected at most {MOST_SOURCE_BYTES}, which is more than any context holds",
                path.display()
            );
        }
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8 text", path.display()))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.builder.drop_source(&mut self.desk, &name, text);
        (self.desk.window.prompt_panel, self.panel_alone) = (true, true);
        self.page = Page::Chat;
        Ok(())
    }
}

/// `path` with the end that its format has, where a dialog let it go without one. Nobody was asked about a file of that name.
fn with_extension(path: &Path, existing: Existing, purpose: Purpose) -> (PathBuf, Existing) {
    match (path.extension(), purpose.extensions()) {
        (None, [extension, ..]) => (path.with_extension(extension), Existing::Keep),
        _ => (path.to_owned(), existing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::library::CardFile;

    #[test]
    fn a_name_that_the_dialog_did_not_show_was_not_confirmed() {
        let purpose = Purpose::SaveCard(1, CardFile::Charx);
        for (chosen, asked, found, existing) in [
            ("Ava.charx", Existing::Replace, "Ava.charx", Existing::Replace),
            ("Ava", Existing::Replace, "Ava.charx", Existing::Keep),
            ("Ava.charx", Existing::Keep, "Ava.charx", Existing::Keep),
        ] {
            assert_eq!(with_extension(Path::new(chosen), asked, purpose), (found.into(), existing));
        }
    }
}
