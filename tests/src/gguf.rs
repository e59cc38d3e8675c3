//! A writer of small GGUF files, good and broken: every part of them can be set by hand.

/// A value of the metadata.
#[derive(Clone, Debug)]
pub enum Value {
    /// UINT16.
    U16(u16),
    /// UINT32.
    U32(u32),
    /// UINT64.
    U64(u64),
    /// INT32.
    I32(i32),
    /// FLOAT32.
    F32(f32),
    /// BOOL.
    Bool(bool),
    /// STRING.
    Text(String),
    /// An array of STRING.
    Texts(Vec<String>),
    /// An array of FLOAT32.
    Floats(Vec<f32>),
    /// An array of INT32.
    Wholes(Vec<i32>),
    /// The number of the type and the value, as they stand in the file.
    Raw(Vec<u8>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Length and bytes.
pub fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

impl Value {
    fn bytes(&self) -> Vec<u8> {
        let of = |kind: u32, value: &[u8]| [&kind.to_le_bytes(), value].concat();
        let array = |kind: u32, items: Vec<Vec<u8>>| {
            [&9_u32.to_le_bytes()[..], &kind.to_le_bytes(), &(items.len() as u64).to_le_bytes(), &items.concat()]
                .concat()
        };
        match self {
            Self::U16(value) => of(2, &value.to_le_bytes()),
            Self::U32(value) => of(4, &value.to_le_bytes()),
            Self::U64(value) => of(10, &value.to_le_bytes()),
            Self::I32(value) => of(5, &value.to_le_bytes()),
            Self::F32(value) => of(6, &value.to_le_bytes()),
            Self::Bool(value) => of(7, &[u8::from(*value)]),
            Self::Text(value) => of(8, &text(value)),
            Self::Texts(values) => array(8, values.iter().map(|value| text(value)).collect()),
            Self::Floats(values) => array(6, values.iter().map(|value| value.to_le_bytes().to_vec()).collect()),
            Self::Wholes(values) => array(5, values.iter().map(|value| value.to_le_bytes().to_vec()).collect()),
            Self::Raw(bytes) => bytes.clone(),
        }
    }
}

/// A tensor.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Outermost first, as everywhere but in the file.
    pub shape: Vec<u64>,
    /// The number of its element type.
    pub kind: u32,
    /// Its bytes.
    pub data: Vec<u8>,
    /// Where it says to be, instead of where it is.
    pub offset: Option<u64>,
}

impl Tensor {
    /// Ones: F32 for a vector, F16 for a matrix.
    pub fn ones(name: &str, shape: &[u64]) -> Self {
        let n = shape.iter().product::<u64>() as usize;
        let (kind, data) = if shape.len() == 1 {
            (0, 1_f32.to_le_bytes().repeat(n))
        } else {
            (1, half::f16::ONE.to_le_bytes().repeat(n))
        };
        Self { name: name.to_owned(), shape: shape.to_vec(), kind, data, offset: None }
    }
}

/// A file.
#[derive(Clone, Debug)]
pub struct Gguf {
    /// 3, or 2.
    pub version: u32,
    /// What the data is aligned to.
    pub alignment: usize,
    /// The metadata.
    pub keys: Vec<(String, Value)>,
    /// The tensors.
    pub tensors: Vec<Tensor>,
}

impl Gguf {
    /// A LLaMA of one layer: dim 32, two heads of 16, one of them for K and V, ten tokens.
    pub fn llama() -> Self {
        let mut file = Self { version: 3, alignment: 32, keys: Vec::new(), tensors: Vec::new() };
        file.set("general.architecture", "llama");
        for (key, value) in [
            ("llama.block_count", 1),
            ("llama.context_length", 64),
            ("llama.embedding_length", 32),
            ("llama.feed_forward_length", 32),
            ("llama.attention.head_count", 2),
            ("llama.attention.head_count_kv", 1),
            ("llama.vocab_size", 10),
        ] {
            file.set(key, Value::U32(value));
        }
        file.set("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
        for (name, shape) in [
            ("token_embd.weight", &[10, 32][..]),
            ("blk.0.attn_norm.weight", &[32]),
            ("blk.0.attn_q.weight", &[32, 32]),
            ("blk.0.attn_k.weight", &[16, 32]),
            ("blk.0.attn_v.weight", &[16, 32]),
            ("blk.0.attn_output.weight", &[32, 32]),
            ("blk.0.ffn_norm.weight", &[32]),
            ("blk.0.ffn_gate.weight", &[32, 32]),
            ("blk.0.ffn_up.weight", &[32, 32]),
            ("blk.0.ffn_down.weight", &[32, 32]),
            ("output_norm.weight", &[32]),
            ("output.weight", &[10, 32]),
        ] {
            file.tensors.push(Tensor::ones(name, shape));
        }
        file
    }

    /// Sets `key`, in place of an earlier value.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.remove(key);
        self.keys.push((key.to_owned(), value.into()));
    }

    /// Removes `key`.
    pub fn remove(&mut self, key: &str) {
        self.keys.retain(|(known, _)| known != key);
    }

    /// The tensor `name`, or the first one.
    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        let index = self.tensors.iter().position(|tensor| tensor.name == name).unwrap_or_default();
        &mut self.tensors[index]
    }

    /// The file's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let (n_tensors, n_keys) = (self.tensors.len() as u64, self.keys.len() as u64);
        let mut head =
            [&b"GGUF"[..], &self.version.to_le_bytes(), &n_tensors.to_le_bytes(), &n_keys.to_le_bytes()].concat();
        for (key, value) in &self.keys {
            head.extend(text(key));
            head.extend(value.bytes());
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            data.resize(data.len().next_multiple_of(self.alignment), 0);
            head.extend(text(&tensor.name));
            head.extend((tensor.shape.len() as u32).to_le_bytes());
            tensor.shape.iter().rev().for_each(|extent| head.extend(extent.to_le_bytes()));
            head.extend(tensor.kind.to_le_bytes());
            head.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(&tensor.data);
        }
        head.resize(head.len().next_multiple_of(self.alignment), 0);
        [head, data].concat()
    }
}
