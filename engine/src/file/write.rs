//! Writes a safetensors file, tensor by tensor, without ever holding more than the caller's buffer.
//!
//! The file appears under its name only when it is whole and on disk: it is written beside it under another name, synced and
//! renamed. An interrupted run leaves nothing.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use super::Dtype;
use crate::error::{Error, Result};

/// A tensor that will be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTensor {
    /// Its name.
    pub name: String,
    /// The type of its elements, a plain one.
    pub dtype: Dtype,
    /// Its extents, outermost first.
    pub shape: Vec<usize>,
}

impl NewTensor {
    /// Bytes of its elements.
    pub fn bytes(&self) -> u64 {
        self.shape.iter().map(|extent| *extent as u64).product::<u64>() * self.dtype.block_bytes() as u64
    }
}

/// A safetensors file that is being written.
#[derive(Debug)]
pub struct SafetensorsWriter {
    file: BufWriter<NamedTempFile>,
    path: PathBuf,
    missing: u64,
}

impl SafetensorsWriter {
    /// Begins the file `path` with `tensors`, whose data follows in this order.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be created there.
    pub fn create(path: &Path, tensors: &[NewTensor]) -> Result<Self> {
        let fail = |action| move |error| Error::io(action, path, error);
        let mut file = BufWriter::with_capacity(1 << 20, beside(path)?);
        let mut header = Map::new();
        header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
        let mut at = 0_u64;
        for tensor in tensors {
            let end = at + tensor.bytes();
            let entry = json!({"dtype": tensor.dtype.name(), "shape": tensor.shape, "data_offsets": [at, end]});
            if header.insert(tensor.name.clone(), entry).is_some() {
                return Err(Error::tensor(path, &tensor.name, "would be written twice"));
            }
            at = end;
        }
        let mut text = Value::Object(header).to_string();
        // The data begins at a multiple of 8, as the reference implementation has it.
        text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
        let head = [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
        file.write_all(&head).map_err(fail("write"))?;
        Ok(Self { file, path: path.to_owned(), missing: at })
    }

    /// Writes the next bytes of data.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full or fails; [`Error::Request`] when there are more bytes than were announced.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let path = &self.path;
        self.missing = match self.missing.checked_sub(bytes.len() as u64) {
            Some(missing) => missing,
            None => return Err(Error::Request(format!("more bytes than announced for {}", path.display()))),
        };
        self.file.write_all(bytes).map_err(|error| Error::io("write", path, error))
    }

    /// Puts the file on disk under its name.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full or fails; [`Error::Request`] when bytes are missing.
    pub fn finish(self) -> Result<()> {
        let Self { file, path, missing } = self;
        if missing != 0 {
            return Err(Error::Request(format!("{missing} bytes of {} were not given", path.display())));
        }
        let file = file.into_inner().map_err(|error| Error::io("write", &path, error.into_error()))?;
        place(file, &path)
    }
}

/// Writes the whole of a side file (`config.json`), atomically.
///
/// # Errors
/// [`Error::Io`] when the disk is full or fails.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = beside(path)?;
    file.write_all(bytes).map_err(|error| Error::io("write", path, error))?;
    place(file, path)
}

/// An empty file in the folder of `path`, with the rights that the user's umask leaves to a new file.
fn beside(path: &Path) -> Result<NamedTempFile> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".guanaco-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder).map_err(|error| Error::io("create", path, error))
}

/// Syncs a finished file and gives it its name.
fn place(file: NamedTempFile, path: &Path) -> Result<()> {
    let fail = |error| Error::io("write", path, error);
    file.as_file().sync_all().map_err(fail)?;
    let file = file.persist(path).map_err(|error| fail(error.error))?;
    file.sync_all().map_err(fail)?;
    #[cfg(unix)]
    if let Some(folder) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        // The name is on disk when the folder is.
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Checkpoint;

    fn tensors() -> Vec<NewTensor> {
        let new =
            |name: &str, shape: &[usize]| NewTensor { name: name.into(), dtype: Dtype::F16, shape: shape.to_vec() };
        vec![new("b", &[2, 3]), new("a", &[1])]
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let mut writer = SafetensorsWriter::create(&path, &tensors()).unwrap();
        assert!(!path.exists());
        writer.write(&[1; 12]).unwrap();
        writer.write(&[2; 2]).unwrap();
        assert!(!path.exists());
        writer.finish().unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        let view = checkpoint.tensor("b").unwrap();
        assert_eq!((view.shape, view.data().unwrap()), (&[2, 3][..], &[1; 12][..]));
        assert_eq!(checkpoint.tensor("a").unwrap().data().unwrap(), [2; 2]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_unfinished_file_leaves_nothing_and_the_old_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        std::fs::write(&path, "old").unwrap();
        let mut writer = SafetensorsWriter::create(&path, &tensors()).unwrap();
        writer.write(&[1; 12]).unwrap();
        assert!(writer.write(&[1; 3]).is_err(), "more than announced");
        assert!(writer.finish().is_err(), "less than announced");
        drop(SafetensorsWriter::create(&path, &tensors()).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let twice = [tensors(), tensors()].concat();
        assert!(SafetensorsWriter::create(&path, &twice).unwrap_err().to_string().contains("twice"));
        assert!(SafetensorsWriter::create(&folder.path().join("no/such.safetensors"), &tensors()).is_err());
    }
}
