//! Cooperative matrices: which shapes an adapter multiplies on its matrix units.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The type of a cooperative matrix's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoopType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// Signed 32-bit integers.
    I32,
    /// Unsigned 32-bit integers.
    U32,
}

const TYPES: [(CoopType, &str); 4] =
    [(CoopType::F32, "F32"), (CoopType::F16, "F16"), (CoopType::I32, "I32"), (CoopType::U32, "U32")];

/// One shape that an adapter reports: (m × k) times (k × n) of one type, with sums of another. Written `16x16x16 F16→F32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CoopShape {
    /// Rows, columns, and what is summed over.
    pub mnk: [u32; 3],
    /// The type of the factors.
    pub ab: CoopType,
    /// The type of the sums.
    pub cr: CoopType,
}

impl CoopShape {
    pub(super) fn of(row: &wgpu::CooperativeMatrixProperties) -> Self {
        let known = |scalar| match scalar {
            wgpu::CooperativeScalarType::F32 => CoopType::F32,
            wgpu::CooperativeScalarType::F16 => CoopType::F16,
            wgpu::CooperativeScalarType::I32 => CoopType::I32,
            wgpu::CooperativeScalarType::U32 => CoopType::U32,
        };
        Self { mnk: [row.m_size, row.n_size, row.k_size], ab: known(row.ab_type), cr: known(row.cr_type) }
    }

    /// `side` each way, f16 with f32 sums: what the kernels multiply.
    pub fn is_square(&self, side: u32) -> bool {
        *self == Self { mnk: [side; 3], ab: CoopType::F16, cr: CoopType::F32 }
    }
}

impl fmt::Display for CoopType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TYPES.iter().find(|(known, _)| known == self).map_or("", |(_, name)| name))
    }
}

impl fmt::Display for CoopShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mnk: [m, n, k], ab, cr } = self;
        write!(f, "{m}x{n}x{k} {ab}→{cr}")
    }
}

impl FromStr for CoopShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (sizes, types) = text.split_once(' ')?;
            let sizes: Option<Vec<u32>> = sizes.split('x').map(|size| size.parse().ok()).collect();
            let (ab, cr) = types.split_once('→')?;
            let known = |name| TYPES.iter().find(|(_, known)| *known == name).map(|(known, _)| *known);
            Some(Self { mnk: sizes?.try_into().ok()?, ab: known(ab)?, cr: known(cr)? })
        };
        parse().ok_or_else(|| format!("`{text}` is no shape of cooperative matrices such as `16x16x16 F16→F32`"))
    }
}

impl TryFrom<String> for CoopShape {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<CoopShape> for String {
    fn from(shape: CoopShape) -> Self {
        shape.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::CoopShape;

    #[test]
    fn a_shape_is_written_and_read_as_one_text() {
        for text in ["8x8x8 F16→F32", "16x8x16 I32→U32"] {
            assert_eq!(text.parse::<CoopShape>().map(String::from).as_deref(), Ok(text));
        }
        for text in ["", "8x8 F16→F32", "8x8x8x8 F16→F32", "8x8x8 F16", "8x8x8 F8→F32", "axbxc F16→F32"] {
            assert!(text.parse::<CoopShape>().is_err(), "{text}");
        }
        let (small, large): (CoopShape, CoopShape) =
            ("8x8x8 F16→F32".parse().unwrap(), "16x16x16 F16→F16".parse().unwrap());
        assert!(small.is_square(8) && !small.is_square(16) && !large.is_square(16));
    }
}
