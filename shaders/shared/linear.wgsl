// What a matrix kernel is told of its part of a matrix. A matrix larger than a binding is split by rows; `row_base` is where
// this part's rows go in y.
struct Params {
    // Words of eight columns in a row.
    row_words: u32,
    // Rows of this part, and the first one's place in y.
    n_rows: u32,
    row_base: u32,
    // 1: add the bias. 2: add to what y holds (the residual stream).
    flags: u32,
    // Elements from one token to the next in y.
    y_stride: u32,
    // Quantised weights: words of `scales` in a row; and log2 of the runs of 32 columns that share a scale (4-bit).
    scale_words: u32,
    group_shift: u32,
    // Where the norm of the input is part of the kernel: its columns, without padding, and what is added to their mean square.
    dim: u32,
    eps: f32,
    // Two matrices side by side: the row of the second buffer that belongs to row 0 of the first.
    second_row: u32,
}
