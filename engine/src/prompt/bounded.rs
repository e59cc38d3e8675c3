//! Chat templates whose values stay small.
//!
//! minijinja's fuel is paid for steps and for what is printed, but not for what a value *means*: `[1] * 99999999` is a promise to
//! count that far, `[x, x]` forty times over has a trillion elements in forty lists, and lists a hundred thousand deep, or a
//! namespace that holds itself, overflow the stack where they are printed, compared or dropped. Each takes less than a hundred
//! bytes of template and ends the program or holds it for hours.
//!
//! So behind each instruction that can make a value larger stands one more that looks at the result: it is counted as it would be
//! printed, and paid for with fuel; what promises elements becomes a list of them; what is too large, or too deep, or a namespace
//! within another value, ends the template. Before values are compared, the right one is looked at too.
//!
//! This uses minijinja's compiler, which has no promise of stability: its version is pinned in the workspace.

use std::collections::BTreeMap;

use minijinja::machinery::ast::{BinOpKind, CallArg, Expr, Stmt};
use minijinja::machinery::{self, CodeGenerator, Instruction, Instructions};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{ObjectRepr, Tuple};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value, functions};

/// The most units of a value: one for an element, and one for 64 bytes of text.
const MAX_UNITS: u64 = 200_000;
/// Units that one fuel pays for.
const UNITS_PER_FUEL: u64 = 8;
/// The deepest value.
const MAX_DEPTH: usize = 64;

/// The filters that look at a value, and at one that a namespace is to keep. No template can spell their names.
const LOOK: &str = "(look)";
const STORE: &str = "(store)";

const NAME: &str = "<template>";

/// A compiled template.
pub(super) struct Program<'s> {
    main: Instructions<'s>,
    blocks: BTreeMap<&'s str, Instructions<'s>>,
}

impl<'s> Program<'s> {
    pub(super) fn compile(source: &'s str, syntax: SyntaxConfig) -> Result<Self, Error> {
        let parsed = machinery::parse(source, NAME, syntax)?;
        check_statement(&parsed)?;
        let mut generator = CodeGenerator::new(NAME, source);
        generator.compile_stmt(&parsed);
        let (main, blocks) = generator.finish();
        let blocks = blocks.iter().map(|(name, block)| (*name, watched(block, source))).collect();
        Ok(Self { main: watched(&main, source), blocks })
    }

    /// Runs it in an environment that [`watch`] was called on. What it prints is limited by the fuel of that.
    pub(super) fn run(&self, environment: &'s Environment<'s>, values: Value) -> Result<String, Error> {
        let mut text = String::new();
        let mut output = machinery::make_string_output(&mut text);
        machinery::eval(environment, &self.main, values, &self.blocks, &mut output, AutoEscape::None)?;
        Ok(text)
    }
}

/// Refuses lists that are repeated as constants: the compiler computes constants, comparisons among them, without any fuel.
fn check_statement(statement: &Stmt<'_>) -> Result<(), Error> {
    let body = |body: &[Stmt<'_>]| body.iter().try_for_each(check_statement);
    match statement {
        Stmt::Template(inner) => body(&inner.children),
        Stmt::EmitExpr(inner) => check_expression(&inner.expr),
        Stmt::ForLoop(inner) => {
            check_expression(&inner.iter)?;
            inner.filter_expr.iter().try_for_each(check_expression)?;
            body(&inner.body)?;
            body(&inner.else_body)
        }
        Stmt::IfCond(inner) => {
            check_expression(&inner.expr)?;
            body(&inner.true_body)?;
            body(&inner.false_body)
        }
        Stmt::WithBlock(inner) => {
            inner.assignments.iter().try_for_each(|(_, value)| check_expression(value))?;
            body(&inner.body)
        }
        Stmt::Set(inner) => [&inner.target, &inner.expr].into_iter().try_for_each(check_expression),
        Stmt::SetBlock(inner) => {
            inner.filter.iter().try_for_each(check_expression)?;
            body(&inner.body)
        }
        Stmt::AutoEscape(inner) => {
            check_expression(&inner.enabled)?;
            body(&inner.body)
        }
        Stmt::FilterBlock(inner) => {
            check_expression(&inner.filter)?;
            body(&inner.body)
        }
        Stmt::Macro(inner) => {
            inner.defaults.iter().try_for_each(check_expression)?;
            body(&inner.body)
        }
        Stmt::CallBlock(inner) => {
            check_expression(&inner.call.expr)?;
            arguments(&inner.call.args)?;
            inner.macro_decl.defaults.iter().try_for_each(check_expression)?;
            body(&inner.macro_decl.body)
        }
        Stmt::Do(inner) => {
            check_expression(&inner.call.expr)?;
            arguments(&inner.call.args)
        }
        Stmt::EmitRaw(_) | Stmt::Continue(_) | Stmt::Break(_) => Ok(()),
    }
}

fn check_expression(expression: &Expr<'_>) -> Result<(), Error> {
    let all = |list: &[&Expr<'_>]| list.iter().try_for_each(|inner| check_expression(inner));
    match expression {
        Expr::Var(_) | Expr::Const(_) => Ok(()),
        Expr::Slice(inner) => {
            check_expression(&inner.expr)?;
            [&inner.start, &inner.stop, &inner.step].into_iter().flatten().try_for_each(check_expression)
        }
        Expr::UnaryOp(inner) => check_expression(&inner.expr),
        Expr::BinOp(inner) => {
            all(&[&inner.left, &inner.right])?;
            let is_list = |side: &Expr<'_>| side.as_const().is_some_and(|value| value.as_object().is_some());
            if matches!(inner.op, BinOpKind::Mul) && (is_list(&inner.left) || is_list(&inner.right)) {
                return Err(Error::new(ErrorKind::InvalidOperation, "a list of constants is not repeated here"));
            }
            Ok(())
        }
        Expr::Compare(inner) => {
            check_expression(&inner.expr)?;
            inner.ops.iter().try_for_each(|op| check_expression(&op.expr))
        }
        Expr::IfExpr(inner) => {
            all(&[&inner.test_expr, &inner.true_expr])?;
            inner.false_expr.iter().try_for_each(check_expression)
        }
        Expr::Filter(inner) => {
            inner.expr.iter().try_for_each(check_expression)?;
            arguments(&inner.args)
        }
        Expr::Test(inner) => {
            check_expression(&inner.expr)?;
            arguments(&inner.args)
        }
        Expr::GetAttr(inner) => check_expression(&inner.expr),
        Expr::GetItem(inner) => all(&[&inner.expr, &inner.subscript_expr]),
        Expr::Call(inner) => {
            check_expression(&inner.expr)?;
            arguments(&inner.args)
        }
        Expr::List(inner) => inner.items.iter().try_for_each(check_expression),
        Expr::Tuple(inner) => inner.items.iter().try_for_each(check_expression),
        Expr::Map(inner) => inner.keys.iter().chain(&inner.values).try_for_each(check_expression),
    }
}

fn arguments(arguments: &[CallArg<'_>]) -> Result<(), Error> {
    arguments.iter().try_for_each(|argument| match argument {
        CallArg::Pos(value) | CallArg::Kwarg(_, value) | CallArg::PosSplat(value) | CallArg::KwargSplat(value) => {
            check_expression(value)
        }
    })
}

/// Adds what the instructions of a [`Program`] call.
pub(super) fn watch(environment: &mut Environment<'_>) {
    environment.add_filter(LOOK, |state: &State, value: Value| look(state, value, 0));
    environment.add_filter(STORE, |state: &State, value: Value| look(state, value, 1));
}

/// The same instructions, with looks between them.
fn watched<'s>(instructions: &Instructions<'s>, source: &'s str) -> Instructions<'s> {
    let call = |filter| Instruction::ApplyFilter(filter, Some(1), u8::MAX);
    // Where each instruction comes to stand; the end can be jumped to as well.
    let (mut out, mut places) = (Vec::new(), Vec::new());
    for at in 0.. {
        places.push(out.len() as u32);
        let Some(instruction) = instructions.get(at) else { break };
        let mut add = |instruction| out.push((instruction, instructions.get_line(at)));
        match instruction {
            Instruction::Eq
            | Instruction::Ne
            | Instruction::Lt
            | Instruction::Lte
            | Instruction::Gt
            | Instruction::Gte
            | Instruction::In
            | Instruction::CompareAndPreserve(_)
            | Instruction::GetItem
            | Instruction::PerformTest(..) => add(call(LOOK)),
            // The namespace is above the value.
            Instruction::SetAttr(_) => {
                [Instruction::Swap, call(STORE), Instruction::Swap].into_iter().for_each(&mut add)
            }
            _ => {}
        }
        add(instruction.clone());
        match instruction {
            Instruction::BuildMap(_)
            | Instruction::BuildList(_)
            | Instruction::BuildTuple(_)
            | Instruction::Add
            | Instruction::Mul
            | Instruction::Slice
            | Instruction::ApplyFilter(..)
            | Instruction::CallFunction(..)
            | Instruction::CallMethod(..)
            | Instruction::CallObject(_) => add(call(LOOK)),
            // The compiler computes constants. Named arguments, which are one too, are no value of a template.
            Instruction::LoadConst(value) if value.as_object().is_some() && !value.is_kwargs() => add(call(LOOK)),
            _ => {}
        }
    }
    let mut moved = Instructions::new(NAME, source);
    for (mut instruction, line) in out {
        if let Instruction::Iterate(target)
        | Instruction::Jump(target)
        | Instruction::JumpIfFalse(target)
        | Instruction::JumpIfFalseOrPop(target)
        | Instruction::JumpIfTrueOrPop(target)
        | Instruction::BuildMacro(_, target, _) = &mut instruction
            && let Some(place) = places.get(*target as usize)
        {
            *target = *place;
        }
        moved.add_with_line(instruction, line.and_then(|line| u16::try_from(line).ok()).unwrap_or(u16::MAX));
    }
    moved
}

/// The value, when it is small, and paid for. Iterators become lists. At `depth` 0 it may be a namespace.
fn look(state: &State, value: Value, depth: usize) -> Result<Value, Error> {
    let Some(object) = value.as_object() else { return Ok(value) };
    let is_list = value.downcast_object_ref::<Vec<Value>>().is_some() || value.downcast_object_ref::<Tuple>().is_some();
    let value = match object.repr() {
        ObjectRepr::Seq | ObjectRepr::Iterable if !is_list => {
            let mut items = Vec::new();
            for item in value.try_iter()? {
                if items.len() as u64 == MAX_UNITS {
                    return Err(too_large());
                }
                items.push(item);
            }
            Value::from(items)
        }
        _ => value,
    };
    let namespace = functions::namespace(None)?;
    let mut measure =
        Measure { left: MAX_UNITS, namespace: namespace.as_object().map_or("", |object| object.type_name()) };
    let result = measure.add(&value, depth);
    state.consume_fuel((MAX_UNITS - measure.left) / UNITS_PER_FUEL)?;
    result.map(|()| value)
}

fn too_large() -> Error {
    let detail = format!("a value has more than {MAX_UNITS} elements");
    Error::new(ErrorKind::InvalidOperation, detail)
}

/// Counts a value as it would be printed: what stands in it twice counts twice.
struct Measure {
    left: u64,
    /// The name of the type of namespaces.
    namespace: &'static str,
}

impl Measure {
    fn add(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let units = 1 + value.as_str().map_or(0, |text| text.len() as u64 / 64);
        self.left = self.left.checked_sub(units).ok_or_else(too_large)?;
        let Some(object) = value.as_object() else { return Ok(()) };
        if depth > MAX_DEPTH {
            return Err(Error::new(ErrorKind::InvalidOperation, format!("a value is deeper than {MAX_DEPTH} levels")));
        }
        let is_map = match object.repr() {
            ObjectRepr::Map => true,
            ObjectRepr::Seq | ObjectRepr::Iterable => false,
            // A function, or nothing that holds values.
            _ => return Ok(()),
        };
        if depth > 0 && is_map && object.type_name() == self.namespace {
            return Err(Error::new(ErrorKind::InvalidOperation, "a namespace cannot be kept within another value"));
        }
        for item in value.try_iter()? {
            if is_map {
                self.add(&value.get_item(&item)?, depth + 1)?;
            }
            self.add(&item, depth + 1)?;
        }
        Ok(())
    }
}
