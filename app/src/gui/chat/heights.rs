//! Where each message of a long chat stands, when only those in sight are laid out: a Fenwick tree over their heights.
//!
//! A height is a guess until its message was drawn once. Fenwick, "A new data structure for cumulative frequency tables", 1994.

/// Heights of rows, in points.
#[derive(Debug, Default)]
pub(super) struct Heights {
    rows: Vec<f32>,
    /// `sums[i]` is the sum of the rows from `i & (i + 1)` to `i`. In f64, so that a change in a long list moves nothing else.
    sums: Vec<f64>,
}

impl Heights {
    /// `len` rows of the height `guess`.
    #[cfg(test)]
    fn new(len: usize, guess: f32) -> Self {
        let mut heights = Self::default();
        heights.resize(len, guess);
        heights
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Keeps the rows that there are, up to `len`, and adds new ones.
    pub(super) fn resize(&mut self, len: usize, guess: f32) {
        self.rows.truncate(len);
        self.sums.truncate(len);
        while self.rows.len() < len {
            let i = self.rows.len();
            let below = self.top(i) - self.top(i & (i + 1));
            self.rows.push(guess);
            self.sums.push(below + f64::from(guess));
        }
    }

    /// Row `i` is `height` high.
    pub(super) fn set(&mut self, i: usize, height: f32) {
        let Some(row) = self.rows.get_mut(i) else { return };
        let change = f64::from(height) - f64::from(*row);
        *row = height;
        let mut at = i;
        while let Some(sum) = self.sums.get_mut(at) {
            *sum += change;
            at |= at + 1;
        }
    }

    /// Where row `i` begins; the whole height for one past the last.
    pub(super) fn top(&self, i: usize) -> f64 {
        let (mut at, mut sum) = (i.min(self.rows.len()), 0.0);
        while at > 0 {
            sum += self.sums.get(at - 1).copied().unwrap_or_default();
            at &= at - 1;
        }
        sum
    }

    /// The row that is at `y`; the last one below the end.
    pub(super) fn row_at(&self, y: f64) -> usize {
        let (mut low, mut high) = (0, self.rows.len());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.top(middle) <= y { low = middle } else { high = middle }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tops_are_the_sums_of_what_is_above() {
        let mut heights = Heights::new(1000, 40.0);
        let mut plain = vec![40.0f32; 1000];
        for n in 0..3000_usize {
            let (i, height) = (n * 7919 % 1000, (n * 31 % 97) as f32 + 0.5);
            heights.set(i, height);
            plain[i] = height;
        }
        heights.resize(900, 1.0);
        heights.resize(1100, 3.0);
        plain.truncate(900);
        plain.resize(1100, 3.0);
        let mut top = 0.0;
        for (i, height) in plain.iter().enumerate() {
            assert!((heights.top(i) - top).abs() < 1e-6, "row {i}");
            assert_eq!(heights.row_at(top + 0.25), i);
            top += f64::from(*height);
        }
        assert!((heights.top(1100) - top).abs() < 1e-6);
        assert_eq!(heights.row_at(1e9), 1099);
        assert_eq!(Heights::default().row_at(3.0), 0);
    }
}
