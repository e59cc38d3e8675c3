//! The window: it draws the [`Desk`](crate::desk::Desk) and calls its methods. Nothing is decided here but how it looks.

mod app;
mod builder;
mod chat;
pub mod dialog;
pub mod fonts;
mod gpu;
mod library;
mod links;
mod models;
mod nav;
mod page;
mod portraits;
mod settings;
pub mod text;
pub mod theme;
mod widgets;

use std::path::PathBuf;

use eframe::egui;

pub use app::App;

/// What the command line says of the window.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// The model to open in place of the last one.
    pub model: Option<PathBuf>,
    /// The adapter to use in place of the last one.
    pub adapter: Option<String>,
}

/// Opens the window, and returns when it is closed.
///
/// # Errors
/// Where there is no display, or none that a window can be opened on.
pub fn run(start: &Start) -> anyhow::Result<()> {
    if !has_display() {
        anyhow::bail!(
            "there is no display to open a window on; `guanaco chat` talks in this terminal, `guanaco --help` lists the rest"
        );
    }
    let options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_title("Guanaco")
            .with_app_id("guanaco")
            .with_inner_size([1180.0, 780.0])
            .with_min_inner_size([420.0, 360.0])
            .with_drag_and_drop(true),
        renderer: eframe::Renderer::Wgpu,
        ..eframe::NativeOptions::default()
    };
    let (folder, start) = (data_folder()?, start.clone());
    let app = move |context: &eframe::CreationContext<'_>| -> Result<Box<dyn eframe::App>, _> {
        Ok(Box::new(App::new(&context.egui_ctx, folder, &start)))
    };
    eframe::run_native("guanaco", options, Box::new(app)).map_err(|error| {
        anyhow::anyhow!("the window cannot be opened: {error}; `guanaco chat` talks in this terminal, without one")
    })
}

/// Where chats, characters and settings are.
fn data_folder() -> anyhow::Result<PathBuf> {
    crate::store::folder().ok_or_else(|| {
        anyhow::anyhow!(
            "there is no home folder to keep chats in; name a folder in GUANACO_DATA, or use `guanaco chat`"
        )
    })
}

/// Whether a window can be opened at all. Elsewhere than on Linux and its kin there always is a display.
fn has_display() -> bool {
    let unix = cfg!(all(unix, not(target_os = "macos")));
    let named = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !unix || named("DISPLAY") || named("WAYLAND_DISPLAY") || named("WAYLAND_SOCKET")
}
