//! How likely a token was, and what else the model thought of: from the logits, before any setting of the sampler.

use serde::{Deserialize, Serialize};

use crate::model::Shortlist;

/// The model's own probabilities at one place of a reply: the softmax of its logits, without temperature, penalty or truncation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Chances {
    /// Of the token that was chosen.
    pub chosen: f32,
    /// The likeliest tokens with theirs, best first; the chosen one may be among them. Equal ones by ascending id.
    pub best: Vec<(u32, f32)>,
}

impl Chances {
    /// The probability of `chosen` and the `n` likeliest tokens by `logits` (one a token of the vocabulary).
    pub(super) fn of(logits: &[f32], chosen: u32, n: usize) -> Self {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|&logit| weight(logit, largest)).sum();
        Self::softmax((0u32..).zip(logits.iter().copied()), (largest, sum), chosen, n)
    }

    /// The same by the best tokens alone. The sum is the device's, in f32: probabilities are within 1e-4 of themselves.
    pub(super) fn among(shortlist: &Shortlist, chosen: u32, n: usize) -> Self {
        let whole = (shortlist.largest, f64::from(shortlist.exp_sum));
        Self::softmax(shortlist.tokens.iter().copied(), whole, chosen, n)
    }

    /// Are the `n` likeliest tokens of a vocabulary of `vocab_size` in the list? Logits that are not are all below its floor.
    pub(super) fn can_tell(shortlist: &Shortlist, vocab_size: usize, n: usize) -> bool {
        let tokens = &shortlist.tokens;
        n == 0
            || tokens.len() == vocab_size
            || tokens.iter().filter(|(_, logit)| *logit >= shortlist.floor).count() >= n
    }

    /// By `tokens`, ascending, with their logits, of a vocabulary whose largest logit and sum of weights are `whole`.
    fn softmax(tokens: impl Iterator<Item = (u32, f32)>, (largest, sum): (f32, f64), chosen: u32, n: usize) -> Self {
        let chance = |logit: f32| (weight(logit, largest) / sum) as f32;
        let mut chances = Self { chosen: 0.0, best: Vec::with_capacity(n + 1) };
        let best = &mut chances.best;
        for (id, logit) in tokens {
            if id == chosen {
                chances.chosen = chance(logit);
            }
            if best.len() == n && best.last().is_none_or(|(_, least)| logit <= *least) {
                continue;
            }
            let place = best.partition_point(|(_, other)| *other >= logit);
            best.insert(place, (id, logit));
            best.truncate(n);
        }
        best.iter_mut().for_each(|(_, logit)| *logit = chance(*logit));
        chances
    }
}

/// A token's probability over that of the likeliest one.
fn weight(logit: f32, largest: f32) -> f64 {
    f64::from(logit - largest).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_softmax_best_first() {
        let logits = [1.0f32, 3.0, 2.0, 3.0, f32::NEG_INFINITY];
        let total: f32 = logits.iter().map(|logit| logit.exp()).sum();
        let chances = Chances::of(&logits, 2, 3);
        assert!((chances.chosen - 2f32.exp() / total).abs() < 1e-6);
        assert_eq!(chances.best.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 3, 2]);
        assert!((chances.best[0].1 - 3f32.exp() / total).abs() < 1e-6);
        assert_eq!(Chances::of(&logits, 4, 9).best.len(), 5);
        assert_eq!(Chances::of(&logits, 4, 9).chosen, 0.0);
        assert!(Chances::of(&logits, 0, 0).best.is_empty());
    }

    #[test]
    fn a_shortlist_tells_the_same_where_it_has_the_best() {
        let logits = [1.0f32, 3.0, 2.0, 3.0, -4.0, 2.5];
        let sum = logits.iter().map(|logit| (logit - 3.0).exp()).sum();
        let tokens = vec![(1, 3.0), (2, 2.0), (3, 3.0), (5, 2.5)];
        let list = Shortlist { tokens, floor: 2.0, largest: 3.0, exp_sum: sum };
        for n in 1..=4 {
            assert!(Chances::can_tell(&list, 6, n));
            let (all, some) = (Chances::of(&logits, 5, n), Chances::among(&list, 5, n));
            assert!((all.chosen - some.chosen).abs() < 1e-6);
            assert_eq!(all.best.len(), n);
            for ((id, chance), (other, close)) in all.best.iter().zip(&some.best) {
                assert!(id == other && (chance - close).abs() < 1e-6, "{all:?} {some:?}");
            }
        }
        assert!(!Chances::can_tell(&list, 6, 5));
        // 2.0 is below: another token may be above it.
        assert!(!Chances::can_tell(&Shortlist { floor: 2.2, ..list.clone() }, 6, 4));
        assert!(Chances::can_tell(&Shortlist { floor: 2.2, ..list.clone() }, 4, 4));
        assert!(!Chances::can_tell(&Shortlist::default(), 6, 1));
    }
}
