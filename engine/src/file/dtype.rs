//! Element types of tensors in files.

/// The element type of a stored tensor, named as in safetensors.
///
/// Only `F16`, `BF16` and `F32` become weights; the others are known so that a file that also holds such tensors (masks,
/// position ids) opens, and so that the message can name what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is its own description")]
pub enum Dtype {
    F64,
    F32,
    F16,
    BF16,
    F8E4M3,
    F8E5M2,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl Dtype {
    /// Every type with its name in safetensors and its size in bytes.
    const TABLE: [(Self, &'static str, usize); 15] = [
        (Self::F64, "F64", 8),
        (Self::F32, "F32", 4),
        (Self::F16, "F16", 2),
        (Self::BF16, "BF16", 2),
        (Self::F8E4M3, "F8_E4M3", 1),
        (Self::F8E5M2, "F8_E5M2", 1),
        (Self::I64, "I64", 8),
        (Self::I32, "I32", 4),
        (Self::I16, "I16", 2),
        (Self::I8, "I8", 1),
        (Self::U64, "U64", 8),
        (Self::U32, "U32", 4),
        (Self::U16, "U16", 2),
        (Self::U8, "U8", 1),
        (Self::Bool, "BOOL", 1),
    ];

    /// The type that safetensors calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|(_, known, _)| *known == name).map(|(dtype, _, _)| *dtype)
    }

    /// Its name in safetensors.
    pub fn name(self) -> &'static str {
        Self::TABLE.iter().find(|(dtype, _, _)| *dtype == self).map_or("?", |(_, name, _)| name)
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        Self::TABLE.iter().find(|(dtype, _, _)| *dtype == self).map_or(1, |(_, _, size)| *size)
    }

    /// Whether [`crate::weights::convert`] can read it.
    pub fn is_weight(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32)
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Dtype;

    #[test]
    fn names_come_back() {
        for (dtype, name, size) in Dtype::TABLE {
            assert_eq!(Dtype::from_name(name), Some(dtype));
            assert_eq!((dtype.name(), dtype.size()), (name, size));
        }
        assert_eq!(Dtype::from_name("F13"), None);
    }
}
