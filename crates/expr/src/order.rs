//! The order and the equality of values, and which letters count as equal.

use std::cmp::Ordering;

/// A value of a property, in the form in which it is compared.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scalar<'a> {
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(&'a str),
    /// A value in a Flex value that is compared with nothing: bytes, a list or a map.
    Other,
}

impl Scalar<'_> {
    /// The order of two values; numbers of any kind by size, and values of different kinds, which only Flex values hold, have
    /// none.
    #[inline]
    pub(crate) fn order(self, other: Scalar<'_>) -> Option<Ordering> {
        Some(match (self, other) {
            (Scalar::Bool(one), Scalar::Bool(other)) => one.cmp(&other),
            (Scalar::Int(one), Scalar::Int(other)) => one.cmp(&other),
            (Scalar::UInt(one), Scalar::UInt(other)) => one.cmp(&other),
            (Scalar::Double(one), Scalar::Double(other)) => order_doubles(one, other),
            // The byte order of UTF-8 is the order of code points.
            (Scalar::Text(one), Scalar::Text(other)) => one.cmp(other),
            (Scalar::Double(one), other) => order_whole(other.whole()?, one).reverse(),
            (one, Scalar::Double(other)) => order_whole(one.whole()?, other),
            (one, other) => one.whole()?.cmp(&other.whole()?),
        })
    }

    /// As [`Scalar::order`], and by kind where that has none, so that lists can be sorted.
    pub(crate) fn total_order(self, other: Scalar<'_>) -> Ordering {
        let kind = |scalar: Scalar<'_>| match scalar {
            Scalar::Bool(_) => 0,
            Scalar::Int(_) | Scalar::UInt(_) | Scalar::Double(_) => 1,
            Scalar::Text(_) => 2,
            Scalar::Other => 3,
        };
        self.order(other).unwrap_or_else(|| kind(self).cmp(&kind(other)))
    }

    fn whole(self) -> Option<i128> {
        match self {
            Scalar::Int(number) => Some(number.into()),
            Scalar::UInt(number) => Some(number.into()),
            _ => None,
        }
    }
}

/// A whole number of 64 bits beside a float, by size; NaN comes after it.
fn order_whole(whole: i128, double: f64) -> Ordering {
    // Beyond 64 bits a float is far from any such number, and what a conversion makes of it is, too.
    let floor = double.floor();
    if double.is_nan() {
        return Ordering::Less;
    }
    whole.cmp(&(floor as i128)).then(if double > floor { Ordering::Less } else { Ordering::Equal })
}

/// Numbers by size, -0 equal to 0, and NaN, of whatever bits, equal to itself and after everything else.
pub(crate) fn order_doubles(one: f64, other: f64) -> Ordering {
    one.partial_cmp(&other).unwrap_or_else(|| one.is_nan().cmp(&other.is_nan()))
}

/// The text with all letters in the form that their upper and lower cases share: what comparisons without case compare.
pub fn fold(text: &str) -> String {
    fold_chars(text).collect()
}

/// As [`fold`], character by character.
///
/// Lower case of upper case of lower case is the full case folding of Unicode: it takes `ß`, `ẞ` and `ss` together, the
/// three sigmas, and `K` with the Kelvin sign. Only the dotless `ı` would go astray, to `i`, and keeps to itself.
pub(crate) fn fold_chars(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(|c| match c {
        c if c.is_ascii() => Folded::One(Some(c.to_ascii_lowercase())),
        'ı' => Folded::One(Some(c)),
        c => Folded::Many(c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase)),
    })
}

/// One character, or the longer way there.
enum Folded<I> {
    One(Option<char>),
    Many(I),
}

impl<I: Iterator<Item = char>> Iterator for Folded<I> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self {
            Folded::One(c) => c.take(),
            Folded::Many(chars) => chars.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_differ_in_case_fold_alike() {
        for same in [
            ["Straße", "STRASSE"],
            ["ẞ", "ss"],
            ["ΌΣΟΣ", "όσος"],
            ["\u{212a}", "k"],
            ["ſ", "S"],
            ["ÀÉ", "àé"],
        ] {
            assert_eq!(fold(same[0]), fold(same[1]), "{same:?}");
        }
        for different in [["ı", "i"], ["a", "á"], ["o", "0"]] {
            assert_ne!(fold(different[0]), fold(different[1]), "{different:?}");
        }
    }

    #[test]
    fn folding_twice_changes_nothing_and_cases_agree() {
        for c in '\0'..=char::MAX {
            let text = c.to_string();
            let folded = fold(&text);
            assert_eq!(fold(&folded), folded, "{c:?}");
            if c != 'ı' {
                assert_eq!(fold(&c.to_uppercase().to_string()), folded, "{c:?}");
                assert_eq!(fold(&c.to_lowercase().to_string()), folded, "{c:?}");
            }
        }
    }

    #[test]
    fn numbers_of_different_kinds_order_by_size() {
        let sorted = [
            Scalar::Double(f64::NEG_INFINITY),
            Scalar::Int(i64::MIN),
            Scalar::Double(-1.5),
            Scalar::Int(-1),
            Scalar::Double(-0.5),
            Scalar::UInt(0),
            Scalar::Double(0.5),
            Scalar::Int(1),
            Scalar::Double(9_007_199_254_740_992.0),
            Scalar::Int(9_007_199_254_740_993),
            Scalar::Int(i64::MAX),
            Scalar::Double(9_223_372_036_854_775_808.0),
            Scalar::UInt(u64::MAX),
            Scalar::Double(18_446_744_073_709_551_616.0),
            Scalar::Double(f64::INFINITY),
            Scalar::Double(f64::NAN),
        ];
        for (i, &one) in sorted.iter().enumerate() {
            for (j, &other) in sorted.iter().enumerate() {
                assert_eq!(one.order(other), Some(i.cmp(&j)), "{one:?} {other:?}");
            }
        }
        assert_eq!(Scalar::Int(2).order(Scalar::Double(2.0)), Some(Ordering::Equal));
        assert_eq!(Scalar::Int(2).order(Scalar::Text("2")), None);
        assert_eq!(Scalar::Other.order(Scalar::Other), None);
    }

    #[test]
    fn doubles_have_a_total_order() {
        let sorted = [f64::NEG_INFINITY, -1.0, 0.0, f64::MIN_POSITIVE, 1.0, f64::INFINITY, f64::NAN];
        for (i, &one) in sorted.iter().enumerate() {
            for (j, &other) in sorted.iter().enumerate() {
                assert_eq!(order_doubles(one, other), i.cmp(&j), "{one} {other}");
            }
        }
        assert!(order_doubles(-0.0, 0.0).is_eq() && order_doubles(-f64::NAN, f64::NAN).is_eq());
    }
}
