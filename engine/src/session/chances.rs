//! How likely a token was, and what else the model thought of: from the logits, before any setting of the sampler.

use serde::{Deserialize, Serialize};

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
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: f32| f64::from(logit - most).exp();
        let total: f64 = logits.iter().map(|&logit| weight(logit)).sum();
        let chance = |logit: f32| (weight(logit) / total) as f32;
        let mut best: Vec<(u32, f32)> = Vec::with_capacity(n + 1);
        for (id, &logit) in (0u32..).zip(logits) {
            if best.len() == n && best.last().is_none_or(|(_, least)| logit <= *least) {
                continue;
            }
            let place = best.partition_point(|(_, other)| *other >= logit);
            best.insert(place, (id, logit));
            best.truncate(n);
        }
        let best = best.into_iter().map(|(id, logit)| (id, chance(logit))).collect();
        Self { chosen: logits.get(chosen as usize).copied().map_or(0.0, chance), best }
    }
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
}
