//! Stores into memory that invocations share write whole vectors. WGSL lets a write of one component touch the whole vector, so
//! that two invocations which write two components of one vector race, and Metal's compiler makes use of that.

use anyhow::{bail, ensure};
use guanaco_tests::Outcome;
use naga::proc::TypeResolution;
use naga::valid::{Capabilities, FunctionInfo};
use naga::{AddressSpace, Block, Expression, Function, Handle, Module, Statement, TypeInner};

use super::{Text, refused};

/// Refuses a store into a component of a vector in workgroup or storage memory, in any function.
pub(crate) fn whole_vectors(text: &Text) -> Outcome {
    let functions = text.module.functions.iter().map(|(handle, function)| (function, &text.info[handle]));
    let entries = text.module.entry_points.iter().enumerate();
    let entries = entries.map(|(index, entry)| (&entry.function, text.info.get_entry_point(index)));
    for (function, info) in functions.chain(entries) {
        each_store(&function.body, &mut |pointer| {
            ensure!(
                !is_component(&text.module, function, info, pointer),
                "`{}` stores into a component of a vector that other invocations may write to; write the whole vector",
                function.name.as_deref().unwrap_or("main")
            );
            Ok(())
        })?;
    }
    Ok(())
}

fn each_store(block: &Block, check: &mut impl FnMut(Handle<Expression>) -> Outcome) -> Outcome {
    for statement in block {
        match statement {
            Statement::Store { pointer, .. } => check(*pointer)?,
            Statement::Block(block) => each_store(block, check)?,
            Statement::If { accept, reject, .. } => {
                each_store(accept, check)?;
                each_store(reject, check)?;
            }
            Statement::Switch { cases, .. } => {
                for case in cases {
                    each_store(&case.body, check)?;
                }
            }
            Statement::Loop { body, continuing, .. } => {
                each_store(body, check)?;
                each_store(continuing, check)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Does `pointer` lead into a vector that is not the invocation's own?
fn is_component(module: &Module, function: &Function, info: &FunctionInfo, pointer: Handle<Expression>) -> bool {
    let (Expression::Access { base, .. } | Expression::AccessIndex { base, .. }) = function.expressions[pointer] else {
        return false;
    };
    let inner = match &info[base].ty {
        TypeResolution::Handle(handle) => &module.types[*handle].inner,
        TypeResolution::Value(inner) => inner,
    };
    let (space, is_vector) = match inner {
        TypeInner::Pointer { base, space } => (*space, matches!(module.types[*base].inner, TypeInner::Vector { .. })),
        TypeInner::ValuePointer { size, space, .. } => (*space, size.is_some()),
        _ => return false,
    };
    is_vector && matches!(space, AddressSpace::WorkGroup | AddressSpace::Storage { .. })
}

/// What the rule is for is refused wherever it is; what is an invocation's own is not.
pub(crate) fn refuses() -> Outcome {
    let text = |before: &str, body: &str| {
        let source = format!(
            "var<workgroup> tile: array<vec4<f32>, 4>; var<workgroup> turned: mat4x4<f32>;
             @group(0) @binding(0) var<storage, read_write> y: array<vec4<f32>>;
             {before}
             @compute @workgroup_size(4) fn main(@builtin(local_invocation_index) lane: u32) {{ {body} }}"
        );
        Text::new(&source, Capabilities::empty(), &[])
    };
    let put = "fn put(lane: u32) { loop { if lane > 0u { tile[lane / 4u][lane % 4u] = 1.0; } break; } }";
    let bad = [
        ("", "tile[lane / 4u][lane % 4u] = 1.0;"),
        ("", "tile[0].x = 1.0;"),
        ("", "tile[0].x += 1.0;"),
        ("", "turned[lane][0] = 1.0;"),
        ("", "y[lane].z = 1.0;"),
        ("", "for (var i = 0u; i < 4u; i++) { switch i { case 1u: { y[i][lane] = 1.0; } default: {} } }"),
        ("", "let p = &y[lane]; (*p).y = 1.0;"),
        (put, "put(lane);"),
    ];
    for (before, body) in bad {
        if refused(whole_vectors(&text(before, body)?)).is_err() {
            bail!("the rule does not see `{before} {body}`");
        }
    }
    let own = "var v: vec4<f32>; v[lane] = 1.0; v.x = 2.0; tile[lane] = v; y[lane] = v; turned[lane] = v;";
    whole_vectors(&text("", own)?)
}
