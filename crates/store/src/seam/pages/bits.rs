//! A set of page numbers.

/// A set of numbers below a bound, one bit for each.
#[derive(Debug)]
pub(super) struct Bits {
    words: Vec<u64>,
    members: u64,
}

impl Bits {
    pub(super) fn new(bound: u64) -> Bits {
        let words = usize::try_from(bound.div_ceil(64)).unwrap_or(usize::MAX);
        Bits { words: vec![0; words], members: 0 }
    }

    /// Adds a number; whether it was not there. A number from the bound on is not kept.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let Some(word) = usize::try_from(number / 64).ok().and_then(|at| self.words.get_mut(at)) else {
            return true;
        };
        let bit = 1 << (number % 64);
        let fresh = *word & bit == 0;
        *word |= bit;
        self.members += u64::from(fresh);
        fresh
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64).ok().and_then(|at| self.words.get(at));
        word.is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// How many numbers are in it.
    pub(super) fn len(&self) -> u64 {
        self.members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_told_apart() {
        let mut bits = Bits::new(130);
        assert!(bits.insert(129) && bits.insert(64) && !bits.insert(129));
        assert_eq!((bits.len(), bits.contains(129), bits.contains(128)), (2, true, false));
        assert!(bits.insert(u64::MAX) && !bits.contains(u64::MAX));
    }
}
