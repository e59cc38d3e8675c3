//! What a kernel's CPU reference sees: the same buffers, by the same names, as plain vectors.
//!
//! One reference serves three ends: conformance compares a shader with it, `GUANACO_CPU_KERNELS` runs it in the shader's
//! place, and a reader finds the kernel's meaning in it. The idea is vello's (`vello_shaders/src/cpu`).

use std::collections::HashMap;

use half::f16;

use crate::error::{Error, Result};

/// A kernel's reference: reads and writes the named buffers. Sums are f64.
pub type Twin = fn(&mut TwinBuffers) -> Result<()>;

/// The buffers of one dispatch, as bytes by name.
#[derive(Clone, Debug, Default)]
pub struct TwinBuffers {
    buffers: HashMap<String, Vec<u8>>,
}

impl TwinBuffers {
    /// Puts `bytes` under `name`.
    pub fn insert(&mut self, name: &str, bytes: Vec<u8>) {
        self.buffers.insert(name.to_owned(), bytes);
    }

    /// The bytes of `name`.
    ///
    /// # Errors
    /// [`Error::Kernel`] when there is no such buffer.
    pub fn bytes(&self, name: &str) -> Result<&[u8]> {
        self.buffers.get(name).map(Vec::as_slice).ok_or_else(|| missing(name))
    }

    /// The parameters in the uniform `name`.
    ///
    /// # Errors
    /// [`Error::Kernel`] when there is none, or it is too short.
    pub fn params<P: bytemuck::AnyBitPattern>(&self, name: &str) -> Result<P> {
        let bytes = self.bytes(name)?;
        match bytes.get(..size_of::<P>()) {
            Some(bytes) => Ok(bytemuck::pod_read_unaligned(bytes)),
            None => {
                Err(Error::kernel("twin", format!("`{name}` has {} bytes, expected {}", bytes.len(), size_of::<P>())))
            }
        }
    }

    /// `name` as words.
    ///
    /// # Errors
    /// [`Error::Kernel`] when there is no such buffer.
    pub fn u32(&self, name: &str) -> Result<Vec<u32>> {
        Ok(bytemuck::pod_collect_to_vec(self.bytes(name)?))
    }

    /// `name` as f32.
    ///
    /// # Errors
    /// [`Error::Kernel`] when there is no such buffer.
    pub fn f32(&self, name: &str) -> Result<Vec<f32>> {
        Ok(bytemuck::pod_collect_to_vec(self.bytes(name)?))
    }

    /// `name` as f16, widened.
    ///
    /// # Errors
    /// [`Error::Kernel`] when there is no such buffer.
    pub fn f16(&self, name: &str) -> Result<Vec<f32>> {
        let halves: Vec<f16> = bytemuck::pod_collect_to_vec(self.bytes(name)?);
        Ok(halves.into_iter().map(f16::to_f32).collect())
    }

    /// Replaces `name` by `values`.
    pub fn set_f32(&mut self, name: &str, values: &[f32]) {
        self.insert(name, bytemuck::cast_slice(values).to_vec());
    }

    /// Replaces `name` by `values`, rounded to f16.
    pub fn set_f16(&mut self, name: &str, values: &[f32]) {
        let halves: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
        self.insert(name, bytemuck::cast_slice(&halves).to_vec());
    }
}

fn missing(name: &str) -> Error {
    Error::kernel("twin", format!("no buffer `{name}`"))
}
