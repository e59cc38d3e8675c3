// The rows of `attention`: query heads of one kv head, token by token.
#import attention

@group(0) @binding(7) var<storage, read_write> out: array<f32>; // (n_tokens, out_stride)

fn n_rows() -> u32 {
    return step.n_tokens * (params.n_heads / params.n_kv_heads);
}

struct Row {
    token: u32,
    head: u32,
}

// Rows past the end are the last one again, and are not written.
fn row_of(row: u32, kv_head: u32) -> Row {
    let group = params.n_heads / params.n_kv_heads;
    let r = min(row, n_rows() - 1u);
    return Row(r / group, kv_head * group + r % group);
}

fn query(row: Row) -> u32 {
    return (row.token * params.n_heads + row.head) * params.head_words * 2u;
}

// Keys that the row may see.
fn n_keys(row: Row) -> u32 {
    return step.pos + row.token + 1u;
}
