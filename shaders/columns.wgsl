// y[t][r] = W[r] · x[t] (+ bias[r]) (+ y[t][r]) for two to eight tokens, in one pass over the weights: the projections of a
// step that tests drafted tokens (Leviathan et al. 2023, arXiv:2211.17192).
#import product
#import quad

@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // (n_tokens, row_words * 2)

#ifdef cpu
#import columns_cpu
#else
#import columns_gpu
#endif
