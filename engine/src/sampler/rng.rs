//! The random numbers of the sampler: PCG-XSH-RR 64/32.
//!
//! Own, because the text that a seed gives is a promise to the user: a dependency may change its stream between versions.
//! Source: M. O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for Random Number
//! Generation", 2014, <https://www.pcg-random.org>.

/// The multiplier of the 64-bit congruential step (Knuth's MMIX, as PCG uses it).
const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
/// The stream: any odd increment will do, it only has to stay the same.
const STREAM: u64 = 54;

/// A PCG-XSH-RR 64/32 generator.
#[derive(Debug, Clone)]
pub struct Pcg32 {
    state: u64,
    increment: u64,
}

impl Pcg32 {
    /// The generator that every reply with this `seed` starts from.
    pub fn new(seed: u64) -> Self {
        Self::with_stream(seed, STREAM)
    }

    /// PCG's `pcg32_srandom_r(seed, stream)`.
    fn with_stream(seed: u64, stream: u64) -> Self {
        let mut rng = Self { state: 0, increment: (stream << 1) | 1 };
        rng.next_u32();
        rng.state = rng.state.wrapping_add(seed);
        rng.next_u32();
        rng
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        let old = self.state;
        self.state = old.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
        let xor_shifted = (((old >> 18) ^ old) >> 27) as u32;
        xor_shifted.rotate_right((old >> 59) as u32)
    }

    /// The next number of `[0, 1)`, with 53 random bits.
    pub fn next_f64(&mut self) -> f64 {
        let high = u64::from(self.next_u32() >> 5);
        let low = u64::from(self.next_u32() >> 6);
        ((high << 26) | low) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_numbers_of_the_pcg_demo() {
        // `pcg32-demo`, round 1, of the C library: seed 42, stream 54.
        let mut rng = Pcg32::new(42);
        let expected = [0xa15c_02b7, 0x7b47_f409, 0xba1d_3330, 0x83d2_f293, 0xbfa4_784b, 0xcbed_606e];
        assert_eq!(expected.map(|_| rng.next_u32()), expected);
    }

    #[test]
    fn floats_fill_the_unit_interval() {
        let mut rng = Pcg32::new(7);
        let draws: Vec<f64> = (0..10_000).map(|_| rng.next_f64()).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((mean - 0.5).abs() < 0.01, "mean {mean}");
    }
}
