//! The system's dialogs for files. A page asks with `ask` or `ask_where`; the window shows the dialog after its frame and takes
//! the answer in some frames later. No frame waits: the dialog runs on a thread of its own, which wakes the window.
//!
//! Where none can be shown (no desktop portal, as in a bare X server) nothing is lost: the answer says so, paths can be typed and files
//! dropped, and what was to be saved goes to the downloads.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use eframe::egui::{Context, Id, Ui};
use rfd::AsyncFileDialog;

use crate::desk::files::ChatFile;
use crate::desk::library::CardFile;
use crate::store::ChatId;

/// What a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Cards to bring in.
    Cards,
    /// A chat to bring in.
    Chat,
    /// A model that is one file.
    ModelFile,
    /// A model's folder.
    ModelFolder,
    /// A LoRA's folder.
    Lora,
    /// Texts to take as sources.
    Sources,
    /// A picture of the character.
    Portrait(u64),
    /// Where the character's card is written to.
    SaveCard(u64, CardFile),
    /// Where the chat is written to.
    SaveChat(ChatId, ChatFile),
}

impl Purpose {
    /// The ends of names that are shown; all files where there are none.
    pub fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Cards => &["png", "apng", "json", "charx"],
            Self::Chat => &["json", "jsonl"],
            Self::ModelFile => &["gguf", "safetensors", "bin", "pt", "pth"],
            Self::ModelFolder | Self::Lora => &[],
            Self::Sources => &["txt", "md", "markdown", "text"],
            Self::Portrait(_) => &["png", "jpg", "jpeg", "webp"],
            Self::SaveCard(_, CardFile::Png) => &["png"],
            Self::SaveCard(_, CardFile::Json(_)) | Self::SaveChat(_, ChatFile::Json) => &["json"],
            Self::SaveCard(_, CardFile::Charx) => &["charx"],
            Self::SaveChat(_, ChatFile::Markdown) => &["md"],
            Self::SaveChat(_, ChatFile::Text) => &["txt"],
        }
    }

    /// Whether several files can be chosen.
    fn is_several(self) -> bool {
        matches!(self, Self::Cards | Self::Sources)
    }
}

/// A question for the person: which file, or where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// What for.
    pub purpose: Purpose,
    /// What the dialog is called.
    pub title: String,
    /// The place that is proposed, for what is to be saved.
    pub place: Option<PathBuf>,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These were chosen.
    Chosen(Vec<PathBuf>),
    /// The dialog was closed.
    Cancelled,
    /// No dialog could be shown, for this reason.
    NotShown(String),
}

/// Answers questions in place of the system, for tests.
pub type Person = Box<dyn FnMut(&Ask) -> Answer>;

/// Sooner than this nobody closes a dialog: there was none.
const AT_ONCE: Duration = Duration::from_millis(300);

/// The questions that were asked in this frame.
#[derive(Clone, Default)]
struct Asked(Vec<Ask>);

fn asked() -> Id {
    Id::unique("file dialogs that were asked for")
}

fn add(ui: &Ui, ask: Ask) {
    ui.ctx().data_mut(|data| data.get_temp_mut_or_default::<Asked>(asked()).0.push(ask));
}

/// Asks for files, or a folder, to open.
pub(super) fn ask(ui: &Ui, purpose: Purpose, title: &str) {
    add(ui, Ask { purpose, title: title.to_owned(), place: None });
}

/// Asks where to save something; `place` is proposed.
pub(super) fn ask_where(ui: &Ui, purpose: Purpose, title: &str, place: PathBuf) {
    add(ui, Ask { purpose, title: title.to_owned(), place: Some(place) });
}

/// The dialogs that are open.
#[derive(Default)]
pub(super) struct Dialogs {
    open: Vec<(Ask, Receiver<Answer>)>,
    person: Option<Person>,
}

impl Dialogs {
    /// Has `person` answer from now on.
    pub(super) fn answer_by(&mut self, person: Person) {
        self.person = Some(person);
    }

    /// Shows what was asked for since the last call, over the window of `frame`.
    pub(super) fn show(&mut self, ctx: &Context, frame: &eframe::Frame) {
        let Asked(asks) = ctx.data_mut(|data| data.remove_temp(asked())).unwrap_or_default();
        for ask in asks {
            // A second click finds the dialog open.
            if self.open.iter().any(|(open, _)| open.purpose == ask.purpose) {
                continue;
            }
            let (send, receive) = channel();
            match &mut self.person {
                Some(person) => {
                    // The other end is in this function.
                    let _ = send.send(person(&ask));
                }
                None => show(&ask, frame, send, ctx.clone()),
            }
            self.open.push((ask, receive));
        }
    }

    /// The answers that have come in.
    pub(super) fn answers(&mut self) -> Vec<(Ask, Answer)> {
        let mut answers = Vec::new();
        self.open.retain(|(ask, receive)| {
            let answer = match receive.try_recv() {
                Ok(answer) => answer,
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => Answer::NotShown("its thread ended".to_owned()),
            };
            answers.push((ask.clone(), answer));
            false
        });
        answers
    }
}

/// Shows the system's dialog. It is made here, as macOS wants it on the window's thread, and waited for elsewhere.
fn show(ask: &Ask, frame: &eframe::Frame, send: Sender<Answer>, ctx: Context) {
    let mut dialog = AsyncFileDialog::new().set_title(&ask.title).set_parent(frame);
    let extensions = ask.purpose.extensions();
    if !extensions.is_empty() {
        dialog = dialog.add_filter(extensions.join(", "), extensions);
    }
    if let Some(place) = &ask.place {
        dialog = match place.parent() {
            Some(folder) => dialog.set_directory(folder),
            None => dialog,
        };
        dialog = dialog.set_file_name(place.file_name().unwrap_or_default().to_string_lossy());
    }
    let start = Instant::now();
    let reply = send.clone();
    let run = move |future: std::pin::Pin<Box<dyn Future<Output = Vec<rfd::FileHandle>> + Send>>| {
        let thread = std::thread::Builder::new().name("guanaco dialog".to_owned()).spawn(move || {
            let chosen = pollster::block_on(future);
            let paths: Vec<_> = chosen.iter().map(|file| file.path().to_owned()).collect();
            // Nobody listening: the window is gone.
            let _ = send.send(answer(paths, start.elapsed()));
            ctx.request_repaint();
        });
        if let Err(error) = thread {
            let _ = reply.send(Answer::NotShown(error.to_string()));
        }
    };
    match ask.purpose {
        _ if ask.place.is_some() => {
            let future = dialog.save_file();
            run(Box::pin(async move { future.await.into_iter().collect() }));
        }
        Purpose::ModelFolder | Purpose::Lora => {
            let future = dialog.pick_folder();
            run(Box::pin(async move { future.await.into_iter().collect() }));
        }
        purpose if purpose.is_several() => {
            let future = dialog.pick_files();
            run(Box::pin(async move { future.await.unwrap_or_default() }));
        }
        _ => {
            let future = dialog.pick_file();
            run(Box::pin(async move { future.await.into_iter().collect() }));
        }
    }
}

/// What the dialog's end means. Where there is neither a portal nor a program in its place it ends at once, as if it were cancelled.
fn answer(paths: Vec<PathBuf>, after: Duration) -> Answer {
    if !paths.is_empty() {
        return Answer::Chosen(paths);
    }
    if cfg!(all(unix, not(target_os = "macos"))) && after < AT_ONCE {
        return Answer::NotShown("neither the desktop's portal nor zenity answers".to_owned());
    }
    Answer::Cancelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_dialog() {
        let path = PathBuf::from("a.png");
        assert_eq!(answer(vec![path.clone()], Duration::ZERO), Answer::Chosen(vec![path]));
        assert_eq!(answer(Vec::new(), Duration::from_secs(2)), Answer::Cancelled);
        let none = answer(Vec::new(), Duration::from_millis(5));
        assert_eq!(matches!(none, Answer::NotShown(_)), cfg!(all(unix, not(target_os = "macos"))));
    }

    #[test]
    fn a_thread_that_ends_without_a_word_is_no_answer() {
        let mut dialogs = Dialogs::default();
        let ask = Ask { purpose: Purpose::Chat, title: String::new(), place: None };
        let (send, receive) = channel();
        dialogs.open.push((ask.clone(), receive));
        assert!(dialogs.answers().is_empty());
        drop(send);
        assert!(matches!(&dialogs.answers()[..], [(asked, Answer::NotShown(_))] if *asked == ask));
        assert!(dialogs.answers().is_empty());
    }
}
