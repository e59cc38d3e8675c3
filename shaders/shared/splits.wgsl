// How the keys of a decode step are split: the host counts the workgroups by the same rule (kernels/attention.rs).

struct Splits {
    // Keys of each split but the last.
    keys: u32,
    count: u32,
}

fn splits(n_keys: u32, keys_per_split: u32, max_splits: u32) -> Splits {
    let wanted = min((n_keys + keys_per_split - 1u) / keys_per_split, max_splits);
    let keys = (n_keys + wanted - 1u) / wanted;
    return Splits(keys, (n_keys + keys - 1u) / keys);
}
