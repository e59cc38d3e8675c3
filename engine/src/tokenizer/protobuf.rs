//! The part of the protobuf wire format that a sentencepiece model uses, read in place.
//!
//! Nothing is allocated on the file's word: a length is compared with the bytes that are left before it is believed.
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: a string, bytes or an inner message.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

impl<'a> Value<'a> {
    /// The bytes of a string or inner message, or what was found instead.
    pub(super) fn bytes(self, what: &str) -> Result<&'a [u8], String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(format!("{what}: expected a string or message, got {other:?}")),
        }
    }

    /// A string, checked to be UTF-8.
    pub(super) fn text(self, what: &str) -> Result<&'a str, String> {
        std::str::from_utf8(self.bytes(what)?).map_err(|error| format!("{what}: not UTF-8 ({error})"))
    }

    /// A 32-bit float.
    pub(super) fn float(self, what: &str) -> Result<f32, String> {
        match self {
            Self::Fixed32(bits) => Ok(f32::from_bits(bits)),
            other => Err(format!("{what}: expected a 32-bit float, got {other:?}")),
        }
    }

    /// A signed integer or an enum; negative ones are stored as 64-bit two's complement.
    pub(super) fn int(self, what: &str) -> Result<i64, String> {
        match self {
            Self::Varint(value) => Ok(value as i64),
            other => Err(format!("{what}: expected an integer, got {other:?}")),
        }
    }

    /// A truth value.
    pub(super) fn bool(self, what: &str) -> Result<bool, String> {
        self.int(what).map(|value| value != 0)
    }
}

/// A message that is being written.
#[derive(Default)]
pub(super) struct Message(pub(super) Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn tag(&mut self, number: u64, wire_type: u64) {
        self.varint(number << 3 | wire_type);
    }

    /// A string, bytes or an inner message.
    pub(super) fn bytes(&mut self, number: u64, bytes: &[u8]) {
        self.tag(number, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// An integer, an enum or a truth value.
    pub(super) fn int(&mut self, number: u64, value: i64) {
        self.tag(number, 0);
        self.varint(value as u64);
    }

    /// A 32-bit float.
    pub(super) fn float(&mut self, number: u64, value: f32) {
        self.tag(number, 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }
}

/// The fields of one message, in file order.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next field's number and value; None at the end of the message.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, String> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = tag >> 3;
        if field == 0 {
            return Err(format!("field number 0 at byte {} of the message", self.at));
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            wire => return Err(format!("wire type {wire} at byte {} of the message does not exist", self.at)),
        };
        Ok(Some((field, value)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let left = self.bytes.len() - self.at;
        if length > left {
            return Err(format!(
                "a field claims {length} bytes where {left} are left: the file is cut short or damaged"
            ));
        }
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(format!("an integer before byte {} of the message does not fit 64 bits", self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_wire_type() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1d, 0, 0, 0x80, 0x3f, 0x21, 1, 0, 0, 0, 0, 0, 0, 0];
        let mut fields = Fields::new(&bytes);
        assert_eq!(fields.next().unwrap(), Some((1, Value::Varint(150))));
        assert_eq!(fields.next().unwrap(), Some((2, Value::Bytes(b"hi"))));
        let (number, value) = fields.next().unwrap().unwrap();
        assert_eq!((number, value.float("score").unwrap()), (3, 1.0));
        assert_eq!(fields.next().unwrap(), Some((4, Value::Fixed64(1))));
        assert_eq!(fields.next().unwrap(), None);
    }

    #[test]
    fn negative_integers_take_ten_bytes() {
        let bytes = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let (_, value) = Fields::new(&bytes).next().unwrap().unwrap();
        assert_eq!(value.int("pad_id").unwrap(), -1);
    }

    #[test]
    fn refuses_lengths_beyond_the_end_and_endless_varints() {
        for bytes in [
            &[0x0a, 0x05, b'a'][..],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x08],
            &[0x00],
            &[0x0b],
            &[0x0d, 1, 2],
        ] {
            assert!(Fields::new(bytes).next().is_err(), "{bytes:?}");
        }
    }
}
