//! An interpreter of pickles that builds data and can do nothing else.
//!
//! A pickle is a program for a stack machine, and Python's runs whatever the program names: a checkpoint can hold
//! `os.system`. This machine has no way to call anything. A global is looked up in [`GLOBALS`], the few names that files of
//! tensors hold, and any other ends the reading with its name; "calling" one of them gives a [`Node::Call`], which is the
//! name and the arguments side by side, for [`super::pytorch`] to read. This is what `torch.load(weights_only=True)` allows,
//! and less. The opcodes are those of <https://github.com/python/cpython/blob/main/Lib/pickletools.py>, protocols 2 to 5;
//! the text opcodes of protocol 0 and those that make objects of other kinds are refused.
//!
//! Nothing in here recurses: values are small and refer to [`Node`]s by number, so lists that hold each other, or tuples of
//! a hundred thousand levels, are built and dropped like any others. Strings stay in the pickle. What is built is bounded by
//! the number of opcodes, which is bounded itself.

use std::collections::HashMap;

use super::Dtype;

/// The most opcodes that are run. A tensor takes 40; each opcode makes at most one value and one node.
const MAX_OPCODES: usize = 1 << 20;
/// The longest name of a global.
const MAX_GLOBAL: usize = 256;

/// What a pickle may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// An ordered dictionary: state dicts are some.
    OrderedDict,
    /// Makes a tensor of a storage, an offset, extents and strides.
    RebuildTensor,
    /// Makes a parameter of a tensor.
    RebuildParameter,
    /// The kind of a storage: its name, and the type of its elements where tensors of it can be read.
    Storage(&'static str, Option<Dtype>),
}

/// The modules and names that a pickle may name.
const GLOBALS: &[(&str, &str, Global)] = &[
    ("collections", "OrderedDict", Global::OrderedDict),
    ("torch._utils", "_rebuild_tensor", Global::RebuildTensor),
    ("torch._utils", "_rebuild_tensor_v2", Global::RebuildTensor),
    ("torch._utils", "_rebuild_parameter", Global::RebuildParameter),
    ("torch", "FloatStorage", Global::Storage("FloatStorage", Some(Dtype::F32))),
    ("torch", "HalfStorage", Global::Storage("HalfStorage", Some(Dtype::F16))),
    ("torch", "BFloat16Storage", Global::Storage("BFloat16Storage", Some(Dtype::BF16))),
    ("torch", "DoubleStorage", Global::Storage("DoubleStorage", Some(Dtype::F64))),
    ("torch", "LongStorage", Global::Storage("LongStorage", Some(Dtype::I64))),
    ("torch", "IntStorage", Global::Storage("IntStorage", Some(Dtype::I32))),
    ("torch", "ShortStorage", Global::Storage("ShortStorage", Some(Dtype::I16))),
    ("torch", "CharStorage", Global::Storage("CharStorage", Some(Dtype::I8))),
    ("torch", "ByteStorage", Global::Storage("ByteStorage", Some(Dtype::U8))),
    ("torch", "BoolStorage", Global::Storage("BoolStorage", Some(Dtype::Bool))),
    ("torch", "ComplexFloatStorage", Global::Storage("ComplexFloatStorage", None)),
    ("torch", "ComplexDoubleStorage", Global::Storage("ComplexDoubleStorage", None)),
    ("torch", "QInt8Storage", Global::Storage("QInt8Storage", None)),
    ("torch", "QUInt8Storage", Global::Storage("QUInt8Storage", None)),
    ("torch", "QInt32Storage", Global::Storage("QInt32Storage", None)),
];

/// A value: small, and copied freely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer that does not fit: its two's complement, little-endian.
    Long(&'a [u8]),
    Str(&'a str),
    /// Something that no tensor needs: a float, bytes.
    Other,
    Global(Global),
    /// The number of a [`Node`].
    Node(usize),
}

/// What holds other values.
#[derive(Debug)]
pub(super) enum Node<'a> {
    Tuple(Box<[Value<'a>]>),
    List(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    /// A global and the arguments that Python would call it with.
    Call(Global, Value<'a>),
    /// Something outside of the pickle, by its identity: a storage.
    Persistent(Value<'a>),
}

/// What a pickle builds.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    /// Its result.
    pub(super) root: Value<'a>,
    /// Everything that was built, in order.
    pub(super) nodes: Vec<Node<'a>>,
    /// Bytes up to its end: another one may follow.
    pub(super) len: usize,
}

impl<'a> Pickle<'a> {
    /// The node that `value` is.
    pub(super) fn node(&self, value: Value<'a>) -> Option<&Node<'a>> {
        match value {
            Value::Node(number) => self.nodes.get(number),
            _ => None,
        }
    }

    /// The items of a tuple.
    pub(super) fn tuple(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match self.node(value)? {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The keys and values of a dictionary, in order; a key can stand there twice.
    pub(super) fn dict(&self, value: Value<'a>) -> Option<&[(Value<'a>, Value<'a>)]> {
        match self.node(value)? {
            Node::Dict(items) => Some(items),
            _ => None,
        }
    }
}

/// Runs the pickle that `bytes` begin with.
///
/// # Errors
/// What is wrong, as a clause for a message: the global that is not one of [`GLOBALS`], or the opcode and its place.
pub(super) fn load(bytes: &[u8]) -> Result<Pickle<'_>, String> {
    let mut machine =
        Machine { bytes, at: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), nodes: Vec::new() };
    for _ in 0..MAX_OPCODES {
        let at = machine.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => return Ok(Pickle { root, nodes: machine.nodes, len: machine.at }),
            Err(what) => return Err(format!("{what} (byte {at} of the pickle)")),
        }
    }
    Err(format!("the pickle has more than {MAX_OPCODES} opcodes: too many for a file of tensors"))
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack that MARK remembered.
    marks: Vec<usize>,
    /// Numbers are the file's, and any can be used: a table by number would be of the file's length.
    memo: HashMap<u64, Value<'a>>,
    nodes: Vec<Node<'a>>,
}

type Step<T> = Result<T, String>;

impl<'a> Machine<'a> {
    /// Runs one opcode; the result, when it was the last one.
    fn step(&mut self) -> Step<Option<Value<'a>>> {
        let opcode = self.unsigned(1)? as u8;
        match opcode {
            // PROTO, FRAME, STOP
            0x80 => match self.unsigned(1)? {
                2..=5 => {}
                other => return Err(format!("the pickle is of protocol {other}, expected 2 to 5")),
            },
            0x95 => {
                let frame = self.unsigned(8)?;
                if frame > (self.bytes.len() - self.at) as u64 {
                    return Err(format!("a frame claims {frame} bytes, more than the pickle has: it is cut"));
                }
            }
            b'.' => return self.pop().map(Some),

            // MARK, POP, POP_MARK, DUP
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => self.above_mark().map(drop)?,
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }

            // NONE, NEWTRUE, NEWFALSE; BININT, BININT1, BININT2, LONG1, LONG4; BINFLOAT
            b'N' => self.stack.push(Value::None),
            0x88 | 0x89 => self.stack.push(Value::Bool(opcode == 0x88)),
            b'J' => {
                let word = self.unsigned(4)? as u32;
                self.stack.push(Value::Int(word.cast_signed().into()));
            }
            b'K' | b'M' => {
                let value = self.unsigned(if opcode == b'K' { 1 } else { 2 })?;
                self.stack.push(Value::Int(value.cast_signed()));
            }
            0x8A | 0x8B => {
                let len = self.unsigned(if opcode == 0x8A { 1 } else { 4 })?;
                let value = long(self.take(len)?);
                self.stack.push(value);
            }
            b'G' => self.other(8)?,

            // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8, and the strings of Python 2: BINSTRING, SHORT_BINSTRING
            b'X' | b'T' => self.string(4)?,
            0x8C | b'U' => self.string(1)?,
            0x8D => self.string(8)?,
            // BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
            b'B' | b'C' | 0x8E | 0x96 => {
                let width = match opcode {
                    b'B' => 4,
                    b'C' => 1,
                    _ => 8,
                };
                let len = self.unsigned(width)?;
                self.other(len)?;
            }

            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
            b')' => self.tuple(0)?,
            0x85..=0x87 => self.tuple(usize::from(opcode - 0x84))?,
            b't' => {
                let items = self.above_mark()?;
                self.push(Node::Tuple(items.into()));
            }
            // EMPTY_LIST, LIST, APPEND, APPENDS
            b']' => self.push(Node::List(Vec::new())),
            b'l' => {
                let items = self.above_mark()?;
                self.push(Node::List(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.list()?.push(item);
            }
            b'e' => {
                let items = self.above_mark()?;
                self.list()?.extend(items);
            }
            // EMPTY_DICT, DICT, SETITEM, SETITEMS
            b'}' => self.push(Node::Dict(Vec::new())),
            b'd' => {
                let items = pairs(&self.above_mark()?)?;
                self.push(Node::Dict(items));
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.dict()?.push((key, value));
            }
            b'u' => {
                let items = pairs(&self.above_mark()?)?;
                self.dict()?.extend(items);
            }

            // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
            b'q' | b'r' => {
                let number = self.unsigned(if opcode == b'q' { 1 } else { 4 })?;
                let top = self.top()?;
                self.memo.insert(number, top);
            }
            0x94 => {
                let top = self.top()?;
                self.memo.insert(self.memo.len() as u64, top);
            }
            b'h' | b'j' => {
                let number = self.unsigned(if opcode == b'h' { 1 } else { 4 })?;
                let value = self.memo.get(&number).copied();
                self.stack.push(value.ok_or_else(|| format!("memo {number} is read, but was never written"))?);
            }

            // GLOBAL, STACK_GLOBAL, and INST, which names one too
            b'c' | b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                let global = global(module, name)?;
                if opcode == b'i' {
                    return Err(unknown(opcode));
                }
                self.stack.push(global);
            }
            0x93 => {
                let (Value::Str(name), Value::Str(module)) = (self.pop()?, self.pop()?) else {
                    return Err("a global is named by something that is not a string".to_owned());
                };
                self.stack.push(global(module, name)?);
            }
            // REDUCE, BUILD, BINPERSID
            b'R' => self.reduce()?,
            b'b' => {
                // The attributes of a dictionary, such as the `_metadata` of a state dict: no tensor is among them.
                self.pop()?;
                self.dict().map(drop)?;
            }
            b'Q' => {
                let identity = self.pop()?;
                self.push(Node::Persistent(identity));
            }
            other => return Err(unknown(other)),
        }
        Ok(None)
    }

    /// Puts the global and its arguments side by side; nothing is called.
    fn reduce(&mut self) -> Step<()> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let is_empty = matches!(arguments, Value::Node(node) if matches!(self.nodes.get(node), Some(Node::Tuple(items)) if items.is_empty()));
        match callable {
            Value::Global(Global::OrderedDict) if is_empty => self.push(Node::Dict(Vec::new())),
            Value::Global(global @ (Global::RebuildTensor | Global::RebuildParameter)) => {
                self.push(Node::Call(global, arguments));
            }
            Value::Global(Global::OrderedDict) => return Err("an OrderedDict is made with arguments".to_owned()),
            _ => return Err("something is called that is not a function".to_owned()),
        }
        Ok(())
    }

    fn take(&mut self, len: u64) -> Step<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        let taken = taken.ok_or_else(|| format!("the pickle is cut: {len} bytes expected, {} left", rest.len()))?;
        self.at += taken.len();
        Ok(taken)
    }

    /// A little-endian integer of `width` bytes, at most 8.
    fn unsigned(&mut self, width: u64) -> Step<u64> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// Text up to the end of the line, as GLOBAL has it.
    fn line(&mut self) -> Step<&'a str> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().take(MAX_GLOBAL).position(|byte| *byte == b'\n');
        let line = end.and_then(|end| std::str::from_utf8(&rest[..end]).ok());
        let line = line.ok_or_else(|| "the name of a global is no line of text".to_owned())?;
        self.at += line.len() + 1;
        Ok(line)
    }

    /// A string behind its length of `width` bytes.
    fn string(&mut self, width: u64) -> Step<()> {
        let len = self.unsigned(width)?;
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| "a string is not UTF-8".to_owned())?;
        self.stack.push(Value::Str(text));
        Ok(())
    }

    fn other(&mut self, len: u64) -> Step<()> {
        self.take(len)?;
        self.stack.push(Value::Other);
        Ok(())
    }

    fn push(&mut self, node: Node<'a>) {
        self.stack.push(Value::Node(self.nodes.len()));
        self.nodes.push(node);
    }

    /// The height of the stack that the last MARK allows to use.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Step<Value<'a>> {
        let usable = self.stack.get(self.floor()..).and_then(<[_]>::last);
        usable.copied().ok_or_else(|| "the stack is empty: the pickle is damaged".to_owned())
    }

    fn pop(&mut self) -> Step<Value<'a>> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Takes what stands above the last MARK.
    fn above_mark(&mut self) -> Step<Vec<Value<'a>>> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len());
        let mark = mark.ok_or_else(|| "no mark is set: the pickle is damaged".to_owned())?;
        // Not `split_off`, which may give its result the capacity of the whole stack.
        Ok(self.stack.drain(mark..).collect())
    }

    fn tuple(&mut self, len: usize) -> Step<()> {
        let start = self.stack.len().checked_sub(len).filter(|start| *start >= self.floor());
        let start = start.ok_or_else(|| "the stack is too short for a tuple: the pickle is damaged".to_owned())?;
        let items = self.stack.drain(start..).collect();
        self.push(Node::Tuple(items));
        Ok(())
    }

    fn list(&mut self) -> Step<&mut Vec<Value<'a>>> {
        match self.top()? {
            Value::Node(node) => match self.nodes.get_mut(node) {
                Some(Node::List(items)) => Ok(items),
                _ => Err("an item is added to something that is no list".to_owned()),
            },
            _ => Err("an item is added to something that is no list".to_owned()),
        }
    }

    fn dict(&mut self) -> Step<&mut Vec<(Value<'a>, Value<'a>)>> {
        match self.top()? {
            Value::Node(node) => match self.nodes.get_mut(node) {
                Some(Node::Dict(items)) => Ok(items),
                _ => Err("an item is set in something that is no dictionary".to_owned()),
            },
            _ => Err("an item is set in something that is no dictionary".to_owned()),
        }
    }
}

fn global<'a>(module: &str, name: &str) -> Step<Value<'a>> {
    let found = GLOBALS.iter().find(|(known_module, known, _)| *known_module == module && *known == name);
    found.map(|(_, _, global)| Value::Global(*global)).ok_or_else(|| {
        let short = |module: &str| format!("{module}.{name}").chars().take(MAX_GLOBAL).collect::<String>();
        // Protocol 2 has Python 2's names of modules (`_compat_pickle.py`); the attack reads better in today's.
        let today = match module {
            "__builtin__" => format!(" (`{}`)", short("builtins")),
            "commands" => format!(" (`{}`)", short("subprocess")),
            _ => String::new(),
        };
        let full = short(module);
        format!(
            "the pickle names `{full}`{today}, which no file of tensors needs: it may be an attack; nothing of it was run. If you \
             trust the file, convert it to safetensors where it came from"
        )
    })
}

fn unknown(opcode: u8) -> String {
    format!("opcode {opcode:#04x} does not occur in a file of tensors")
}

/// An integer in two's complement of any length.
fn long(bytes: &[u8]) -> Value<'_> {
    if bytes.len() > 8 {
        return Value::Long(bytes);
    }
    let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xFF } else { 0 };
    let mut whole = [sign; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(whole))
}

fn pairs<'a>(items: &[Value<'a>]) -> Step<Vec<(Value<'a>, Value<'a>)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("a dictionary has a key without a value: the pickle is damaged".to_owned());
    }
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> String {
        load(bytes).map(|pickle| pickle.len).unwrap_err()
    }

    #[test]
    fn every_opcode_builds_what_it_says() {
        // {"a": (1, -2, 300, 2^40, None, True, False, 1.0, b"xy"), "b": [4, 5]}, with a memo, in the opcodes of protocol 2.
        let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00a(K\x01J\xfe\xff\xff\xffM\x2c\x01\x8a\x06\0\0\0\0\0\x01N\x88\x89\
            G\x3f\xf0\0\0\0\0\0\0C\x02xytq\x01\x8c\x01b](K\x04K\x05eu.trailing";
        let pickle = load(bytes).unwrap();
        assert_eq!(&bytes[pickle.len..], b"trailing");
        let items = pickle.dict(pickle.root).unwrap();
        assert_eq!(items.iter().map(|item| item.0).collect::<Vec<_>>(), [Value::Str("a"), Value::Str("b")]);
        let ints = [1, -2, 300, 1 << 40].map(Value::Int);
        let others = [Value::None, Value::Bool(true), Value::Bool(false), Value::Other, Value::Other];
        assert_eq!(pickle.tuple(items[0].1).unwrap(), [&ints[..], &others].concat());
        assert!(matches!(pickle.node(items[1].1), Some(Node::List(list)) if *list == [4, 5].map(Value::Int)));

        // Protocol 4: a frame, MEMOIZE, STACK_GLOBAL; a storage and a call that stays one.
        let bytes = b"\x80\x04\x95\x20\0\0\0\0\0\0\0\x8c\x0ctorch._utils\x94\x8c\x12_rebuild_tensor_v2\x94\x93\x94\x8c\x03key\x85Qh\x02h\x00\x87\x85R.";
        let pickle = load(bytes).unwrap();
        let Some(Node::Call(Global::RebuildTensor, arguments)) = pickle.node(pickle.root) else { panic!("{pickle:?}") };
        let inner = pickle.tuple(pickle.tuple(*arguments).unwrap()[0]).unwrap();
        assert_eq!(inner[1..], [Value::Global(Global::RebuildTensor), Value::Str("torch._utils")]);
        assert!(load(b"\x80\x02)Q(l0(0N.").is_ok(), "POP of a mark and of a list");
        assert_eq!(load(b"\x80\x02\x8a\x09123456789.").unwrap().root, Value::Long(b"123456789"));
        assert_eq!(load(b"\x80\x02\x8a\x00.").unwrap().root, Value::Int(0));
        assert_eq!(load(b"\x80\x02\x8a\x01\xff.").unwrap().root, Value::Int(-1));
    }

    #[test]
    fn nothing_but_tensors_can_be_named() {
        for (bytes, word) in [
            (&b"\x80\x02cposix\nsystem\nX\x02\0\0\0ls\x85R."[..], "`posix.system`"),
            (b"\x80\x02cos\nsystem\n.", "`os.system`"),
            (b"\x80\x02ccommands\nPopen\n.", "`commands.Popen` (`subprocess.Popen`)"),
            (b"\x80\x02c__builtin__\neval\n.", "`builtins.eval`"),
            (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "`builtins.eval`"),
            (b"\x80\x02(S'ls'\nios\nsystem\n.", "opcode 0x53"),
            (b"\x80\x02(ios\nsystem\n.", "`os.system`"),
            (b"\x80\x02(icollections\nOrderedDict\n.", "opcode 0x69"),
            (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "opcode 0x81"),
            (b"\x80\x02ctorch\nHalfStorage\n)R.", "not a function"),
            (b"\x80\x02ccollections\nOrderedDict\n]\x85R.", "with arguments"),
            (b"\x80\x02X\x01\0\0\0f)R.", "not a function"),
            (b"\x80\x02\x82\x01.", "opcode 0x82"),
            (b"\x80\x04\x8c\x02osN\x93.", "not a string"),
            (b"\x80\x02ctorch\n__import__('os').system('ls').HalfStorage\n.", "torch.__import__"),
        ] {
            let message = error(bytes);
            assert!(message.contains(word), "{word}: {message}");
        }
    }

    #[test]
    fn what_a_pickle_claims_takes_no_memory() {
        for (bytes, word) in [
            (&b"\x80\x02X\xff\xff\xff\xffabc."[..], "4294967295 bytes expected, 4 left"),
            (b"\x80\x02\x8b\xff\xff\xff\x7fabc.", "2147483647 bytes"),
            (b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.", "18446744073709551615 bytes"),
            (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff.", "a frame claims"),
            (b"\x80\x02j\xff\xff\xff\xff.", "memo 4294967295"),
            (b"\x80\x02N\x85\x87.", "too short"),
            (b"\x80\x02N(\x85.", "too short"),
            (b"\x80\x02N(0t.", "no mark"),
            (b"\x80\x02}(Nu.", "without a value"),
            (b"\x80\x02)Na.", "no list"),
            (b"\x80\x02]NNs.", "no dictionary"),
            (b"\x80\x02]}b.", "no dictionary"),
            (b"\x80\x02.", "stack is empty"),
            (b"\x80\x09N.", "protocol 9"),
            (b"", "1 bytes expected, 0 left"),
        ] {
            let message = error(bytes);
            assert!(message.contains(word), "{word}: {message}");
        }
        assert_eq!(load(b"\x80\x02Nr\xff\xff\xff\xff.").unwrap().root, Value::None);
        let endless = [&b"\x80\x02"[..], &b"]".repeat(MAX_OPCODES)].concat();
        assert!(error(&endless).contains("more than 1048576 opcodes"));
    }

    #[test]
    fn depth_and_cycles_cost_nothing() {
        let deep = [&b"\x80\x02)"[..], &b"\x85".repeat(500_000), b"."].concat();
        assert_eq!(load(&deep).unwrap().nodes.len(), 500_001);
        let list = load(b"\x80\x02]q\x00h\x00a.").unwrap();
        assert!(matches!(list.node(list.root), Some(Node::List(items)) if *items == [list.root]));
        // A long stack, and then lists that must not be given its capacity.
        let lists = [&b"\x80\x02("[..], &b"N".repeat(400_000), b"1", &b"(l".repeat(200_000), b"."].concat();
        let kept: usize = load(&lists)
            .unwrap()
            .nodes
            .iter()
            .map(|node| if let Node::List(items) = node { items.capacity() } else { 0 })
            .sum();
        assert_eq!(kept, 0);
    }

    #[test]
    fn a_cut_or_changed_byte_never_panics() {
        let bytes = b"\x80\x04\x95\x10\0\0\0\0\0\0\0ccollections\nOrderedDict\n)R\x94(\x8c\x01a\x94(\x8c\x01xctorch\nHalfStorage\n\x8c\x010tQK\x00)\x85\x87u}b.";
        let whole = load(bytes).unwrap();
        assert_eq!(whole.len, bytes.len());
        let (mut read, mut refused) = (0, 0);
        for at in 0..bytes.len() {
            assert!(load(&bytes[..at]).is_err(), "{at} bytes");
            for value in 0..=255 {
                let mut wrong = bytes.to_vec();
                wrong[at] = value;
                if load(&wrong).is_ok() { read += 1 } else { refused += 1 }
            }
        }
        println!("{read} read, {refused} refused");
        assert!(read > 500 && refused > 10_000);
    }
}
