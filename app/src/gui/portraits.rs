//! Pictures of characters: decoded within limits on a thread, kept small.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use eframe::egui::{ColorImage, Context, TextureHandle, TextureOptions};

/// The longer side of what is kept, pixels.
const SIDE: u32 = 192;
/// The most bytes that decoding may take.
const MOST_BYTES: u64 = 512 << 20;

/// The pictures, by the character's id.
#[derive(Default)]
pub(super) struct Portraits {
    known: HashMap<u64, (Arc<[u8]>, State)>,
}

enum State {
    Decoding(Receiver<Option<ColorImage>>),
    Ready(TextureHandle),
    None,
}

impl Portraits {
    /// The picture of `id`, whose file is `bytes`; None until it is decoded, and where it cannot be.
    pub(super) fn of(&mut self, ctx: &Context, id: u64, bytes: &Arc<[u8]>) -> Option<&TextureHandle> {
        // Another picture than before is decoded anew.
        self.known.retain(|known, (of, _)| *known != id || Arc::ptr_eq(of, bytes));
        let (_, state) = self.known.entry(id).or_insert_with(|| {
            let (send, receive) = channel();
            let (shared, ctx) = (bytes.clone(), ctx.clone());
            // Without a thread there is no picture.
            let _ = std::thread::Builder::new().name("guanaco portrait".to_owned()).spawn(move || {
                let _ = send.send(decode(&shared));
                ctx.request_repaint();
            });
            (bytes.clone(), State::Decoding(receive))
        });
        if let State::Decoding(receive) = state
            && let Ok(image) = receive.try_recv()
        {
            let name = format!("portrait {id}");
            *state =
                image.map_or(State::None, |image| State::Ready(ctx.load_texture(name, image, TextureOptions::LINEAR)));
        }
        match state {
            State::Ready(texture) => Some(texture),
            State::Decoding(_) | State::None => None,
        }
    }

    /// Forgets the picture of `id`, which is gone.
    pub(super) fn forget(&mut self, id: u64) {
        self.known.remove(&id);
    }
}

fn decode(bytes: &[u8]) -> Option<ColorImage> {
    let mut reader = image::ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MOST_BYTES);
    reader.limits(limits);
    let small = reader.decode().ok()?.thumbnail(SIDE, SIDE).to_rgba8();
    let size = [small.width() as usize, small.height() as usize];
    Some(ColorImage::from_rgba_unmultiplied(size, small.as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_picture_has_none_and_a_large_one_is_kept_small() {
        assert!(decode(b"nonsense").is_none() && decode(b"\x89PNG\r\n\x1a\n").is_none());
        let mut png = Vec::new();
        image::RgbaImage::from_pixel(800, 400, image::Rgba([9, 8, 7, 255]))
            .write_to(&mut Cursor::new(&mut png), image::ImageFormat::Png)
            .unwrap();
        assert_eq!(decode(&png).unwrap().size, [192, 96]);
    }
}
