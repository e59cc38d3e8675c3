// What changes from step to step; one small uniform that all kernels share.
struct Step {
    // Position of the first token of this step in its sequence.
    pos: u32,
    // Tokens (rows) of this step.
    n_tokens: u32,
}
