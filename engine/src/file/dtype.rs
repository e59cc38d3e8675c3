//! Element types of tensors in files.

/// The element type of a stored tensor, named as in safetensors or, for the types that store blocks of elements with a common
/// scale, as in GGUF.
///
/// `F16`, `BF16`, `F32` and the block types become weights; the others are known so that a file that also holds such tensors
/// (masks, position ids) opens, and so that the message can name what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, non_camel_case_types, reason = "the names of the two formats are the description")]
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
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4_K,
    Q5_K,
    Q6_K,
}

impl Dtype {
    /// Every type: its name, the elements of a block (1 for plain types), and the bytes of a block.
    const TABLE: [(Self, &'static str, usize, usize); 23] = [
        (Self::F64, "F64", 1, 8),
        (Self::F32, "F32", 1, 4),
        (Self::F16, "F16", 1, 2),
        (Self::BF16, "BF16", 1, 2),
        (Self::F8E4M3, "F8_E4M3", 1, 1),
        (Self::F8E5M2, "F8_E5M2", 1, 1),
        (Self::I64, "I64", 1, 8),
        (Self::I32, "I32", 1, 4),
        (Self::I16, "I16", 1, 2),
        (Self::I8, "I8", 1, 1),
        (Self::U64, "U64", 1, 8),
        (Self::U32, "U32", 1, 4),
        (Self::U16, "U16", 1, 2),
        (Self::U8, "U8", 1, 1),
        (Self::Bool, "BOOL", 1, 1),
        (Self::Q4_0, "Q4_0", 32, 18),
        (Self::Q4_1, "Q4_1", 32, 20),
        (Self::Q5_0, "Q5_0", 32, 22),
        (Self::Q5_1, "Q5_1", 32, 24),
        (Self::Q8_0, "Q8_0", 32, 34),
        (Self::Q4_K, "Q4_K", 256, 144),
        (Self::Q5_K, "Q5_K", 256, 176),
        (Self::Q6_K, "Q6_K", 256, 210),
    ];

    fn row(self) -> (&'static str, usize, usize) {
        let row = Self::TABLE.iter().find(|row| row.0 == self);
        row.map_or(("?", 1, 1), |(_, name, elements, bytes)| (name, *elements, *bytes))
    }

    /// The plain type that safetensors calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|(_, known, elements, _)| *known == name && *elements == 1).map(|row| row.0)
    }

    /// Its name in safetensors or GGUF.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Elements that are stored together: 1 for plain types, 32 or 256 along a row for the block types.
    pub fn block_len(self) -> usize {
        self.row().1
    }

    /// Bytes of one block: of one element, for plain types.
    pub fn block_bytes(self) -> usize {
        self.row().2
    }

    /// Bytes of a row of `cols` elements, which must be whole blocks.
    pub fn row_bytes(self, cols: usize) -> usize {
        cols / self.block_len() * self.block_bytes()
    }

    /// Whether [`crate::weights::convert`] can read it.
    pub fn is_weight(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32) || self.is_block()
    }

    /// Whether it stores blocks of elements with a common scale.
    pub fn is_block(self) -> bool {
        self.block_len() > 1
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
        for (dtype, name, elements, bytes) in Dtype::TABLE {
            // A block type is none of safetensors'.
            assert_eq!(Dtype::from_name(name), (elements == 1).then_some(dtype));
            assert_eq!((dtype.name(), dtype.block_len(), dtype.block_bytes()), (name, elements, bytes));
            assert_eq!(dtype.row_bytes(512), 512 / elements * bytes);
        }
        assert_eq!(Dtype::from_name("F13"), None);
    }
}
