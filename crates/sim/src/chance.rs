//! Random numbers that are the same for the same seed, on every machine and in every release of this crate.

/// A small generator (xorshift over a mixed seed); good enough to invent histories, and for nothing else.
#[derive(Clone, Debug)]
pub struct Chance(u64);

/// Mixes numbers into one that depends on every bit of each.
pub fn mix(parts: &[u64]) -> u64 {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for &part in parts {
        state = (state ^ part).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        state = (state ^ (state >> 29)).wrapping_mul(0x94D0_49BB_1331_11EB);
        state ^= state >> 32;
    }
    state
}

impl Chance {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Chance {
        Chance(mix(&[seed, 1]) | 1)
    }

    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { (self.draw() >> 16) % end }
    }

    /// An index into a list of this length.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// Whether something happens that does so `percent` times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these, each as often as its weight says.
    pub fn weighted<T: Copy>(&mut self, choices: &[(u64, T)]) -> T {
        let total: u64 = choices.iter().map(|(weight, _)| weight).sum();
        let mut at = self.below(total);
        for &(weight, choice) in choices {
            if at < weight {
                return choice;
            }
            at -= weight;
        }
        choices[choices.len() - 1].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_numbers_for_ever() {
        let mut chance = Chance::new(7);
        let numbers: Vec<u64> = (0..4).map(|_| chance.below(1000)).collect();
        assert_eq!(numbers, [486, 533, 110, 611]);
    }

    #[test]
    fn weights_are_kept_to() {
        let mut chance = Chance::new(1);
        let heads = (0..10_000).filter(|_| chance.weighted(&[(3, true), (1, false)])).count();
        assert!((7_000..8_000).contains(&heads), "{heads}");
    }
}
