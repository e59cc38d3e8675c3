//! Storage that fails: at the Nth call, when the disk is full, and by a power cut that loses what was not synced.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use guanaco::store::Wrap;
use redb::StorageBackend;
use redb::backends::FileBackend;

use super::writer::Dice;

/// When and how calls fail. Shared by all openings of a store.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Calls that write, so far.
    calls: AtomicU64,
    /// The first call that fails, from 1; 0 for none.
    from: AtomicU64,
    /// How many fail.
    count: AtomicU64,
    /// A failing write writes its first half.
    torn: AtomicBool,
    /// Nothing can grow.
    pub(crate) full: AtomicBool,
}

impl Faults {
    /// Has `count` calls fail from the `nth` on, counted from here.
    pub(crate) fn arm(&self, nth: u64, count: u64, torn: bool) {
        self.torn.store(torn, Ordering::SeqCst);
        self.count.store(count, Ordering::SeqCst);
        self.from.store(self.calls.load(Ordering::SeqCst) + nth, Ordering::SeqCst);
    }

    /// Whether the first call that was to fail has come.
    pub(crate) fn struck(&self) -> bool {
        self.calls.load(Ordering::SeqCst) >= self.from.load(Ordering::SeqCst)
    }

    /// What [`guanaco::store::Store::with_backend`] takes.
    pub(crate) fn wrap(self: &Arc<Self>) -> Wrap {
        let faults = self.clone();
        Arc::new(move |file| Box::new(Faulty { file, faults: faults.clone() }))
    }

    fn call(&self) -> io::Result<()> {
        let n = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let from = self.from.load(Ordering::SeqCst);
        let fails = from > 0 && n >= from && n - from < self.count.load(Ordering::SeqCst);
        if fails { Err(io::Error::other(format!("made to fail at call {n}"))) } else { Ok(()) }
    }

    fn grow(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct Faulty {
    file: FileBackend,
    faults: Arc<Faults>,
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.call()?;
        if len > self.file.len()? {
            self.faults.grow()?;
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        // No power goes here, so the sync itself would only take time.
        self.faults.call()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if let Err(error) = self.faults.call() {
            if self.faults.torn.load(Ordering::SeqCst) {
                self.file.write(offset, &data[..data.len() / 2])?;
            }
            return Err(error);
        }
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

enum Pending {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Default)]
struct Disk {
    /// As readers see it.
    now: Vec<u8>,
    /// As the last sync left it.
    synced: Vec<u8>,
    pending: Vec<Pending>,
    filled: bool,
    /// Writes until the power goes, and what decides what is left then.
    armed: Option<(u64, Dice)>,
    cut: Option<Cut>,
}

/// What a power cut left.
pub(crate) struct Cut {
    /// The file.
    pub(crate) image: Vec<u8>,
    /// Writes that were not synced.
    pub(crate) pending: usize,
}

/// A disk with a cache: what was not synced is written in any order, in parts, or not at all when the power goes.
#[derive(Default)]
pub(crate) struct Cached(Mutex<Disk>);

impl fmt::Debug for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cached")
    }
}

impl Cached {
    /// What [`guanaco::store::Store::with_backend`] takes. The file is read once, and never written.
    pub(crate) fn wrap(self: &Arc<Self>) -> Wrap {
        let cached = self.clone();
        Arc::new(move |file| {
            let mut disk = cached.disk();
            if !disk.filled {
                let mut bytes = vec![0; file.len().unwrap_or(0) as usize];
                disk.filled = file.read(0, &mut bytes).is_ok();
                disk.synced = bytes.clone();
                disk.now = bytes;
            }
            Box::new(Handle(cached.clone()))
        })
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the power go at the write after `writes` more.
    pub(crate) fn arm(&self, writes: u64, dice: Dice) {
        self.disk().armed = Some((writes, dice));
    }

    /// What was left of the file, once the power has gone. What runs does not notice.
    pub(crate) fn cut(&self) -> Option<Cut> {
        self.disk().cut.take()
    }
}

impl Disk {
    fn pend(&mut self, pending: Pending) {
        self.pending.push(pending);
        match &mut self.armed {
            Some((0, dice)) => {
                let image = left(&self.synced, &self.pending, dice);
                self.cut = Some(Cut { image, pending: self.pending.len() });
                self.armed = None;
            }
            Some((writes, _)) => *writes -= 1,
            None => {}
        }
    }
}

/// Of what was not synced, some is there, some not, and some in part.
fn left(synced: &[u8], pending: &[Pending], dice: &mut Dice) -> Vec<u8> {
    let mut image = synced.to_vec();
    let keep = dice.roll(5);
    for pending in pending {
        if dice.roll(4) >= keep {
            continue;
        }
        match pending {
            Pending::Length(len) => image.resize(*len, 0),
            Pending::Write(offset, data) => {
                // A sector is written whole or not at all.
                let sectors = data.len().div_ceil(512) as u64;
                let part = if dice.roll(4) == 0 { dice.roll(sectors + 1) as usize * 512 } else { data.len() };
                put(&mut image, *offset, &data[..part.min(data.len())]);
            }
        }
    }
    image
}

fn put(image: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(data);
}

#[derive(Debug)]
struct Handle(Arc<Cached>);

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.disk().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.disk();
        let from = disk.now.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.0.disk();
        disk.now.resize(len as usize, 0);
        disk.pend(Pending::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.disk();
        disk.synced = disk.now.clone();
        disk.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.0.disk();
        put(&mut disk.now, offset as usize, data);
        disk.pend(Pending::Write(offset as usize, data.to_vec()));
        Ok(())
    }
}
