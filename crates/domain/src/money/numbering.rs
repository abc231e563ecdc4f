//! Numbers that should come without a gap: a card's offline counter, a terminal's records and batches.
//!
//! They come late, twice and out of order. What is missing is kept as intervals with the time since when that
//! is known, and an interval shrinks when a number of it comes after all.

use serde::{Deserialize, Serialize};

/// Numbers that have not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingNumbers {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// Since when it, or a higher number, is known to have been given.
    pub since: jiff::Timestamp,
}

/// How a number came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arrival {
    /// The next one.
    Next,
    /// Higher than the next: those between are missing.
    Ahead,
    /// One of those that were missing.
    Late,
    /// It had come before.
    Known,
}

/// What is known of one sequence, which begins with 1.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Numbering {
    highest: u64,
    /// In order, apart from each other, none above `highest`.
    missing: Vec<MissingNumbers>,
}

impl Numbering {
    /// The highest number that is known to have been given; 0 for none.
    pub const fn highest(&self) -> u64 {
        self.highest
    }

    /// What has not come, in order.
    pub fn missing(&self) -> &[MissingNumbers] {
        &self.missing
    }

    /// Whether every number up to the highest has come.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }

    /// The last number up to which all have come.
    pub fn whole_up_to(&self) -> u64 {
        self.missing.first().map_or(self.highest, |first| first.from - 1)
    }

    /// A number comes. Zero is before every sequence and is always known.
    pub fn take(&mut self, number: u64, at: jiff::Timestamp) -> Arrival {
        if number > self.highest {
            let next = self.highest + 1;
            self.highest = number;
            if number == next {
                return Arrival::Next;
            }
            self.missing.push(MissingNumbers { from: next, to: number - 1, since: at });
            return Arrival::Ahead;
        }
        let within = |gap: &MissingNumbers| (gap.from..=gap.to).contains(&number);
        let Some(index) = self.missing.iter().position(within) else { return Arrival::Known };
        let gap = self.missing[index];
        let before = (gap.from < number).then(|| MissingNumbers { to: number - 1, ..gap });
        let after = (number < gap.to).then(|| MissingNumbers { from: number + 1, ..gap });
        self.missing.splice(index..=index, before.into_iter().chain(after));
        Arrival::Late
    }

    /// A number is known to have been given, though nothing came with it: all up to it that have not come are
    /// missing.
    pub fn expect(&mut self, number: u64, at: jiff::Timestamp) {
        if number > self.highest {
            self.missing.push(MissingNumbers { from: self.highest + 1, to: number, since: at });
            self.highest = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).unwrap()
    }

    fn missing(numbering: &Numbering) -> Vec<(u64, u64, jiff::Timestamp)> {
        numbering.missing().iter().map(|gap| (gap.from, gap.to, gap.since)).collect()
    }

    #[test]
    fn a_gap_opens_shrinks_and_closes() {
        let mut numbering = Numbering::default();
        assert_eq!(numbering.take(1, at(1)), Arrival::Next);
        assert_eq!(numbering.take(6, at(2)), Arrival::Ahead);
        assert_eq!(missing(&numbering), [(2, 5, at(2))]);
        assert_eq!(numbering.take(4, at(3)), Arrival::Late);
        assert_eq!(missing(&numbering), [(2, 3, at(2)), (5, 5, at(2))], "since when stays");
        assert_eq!(numbering.whole_up_to(), 1);
        assert_eq!(numbering.take(4, at(4)), Arrival::Known);
        for late in [5, 2, 3] {
            assert_eq!(numbering.take(late, at(5)), Arrival::Late);
        }
        assert!(numbering.is_whole());
        assert_eq!((numbering.highest(), numbering.whole_up_to()), (6, 6));
        assert_eq!(numbering.take(0, at(6)), Arrival::Known);
    }

    #[test]
    fn what_is_expected_is_missing_until_it_comes() {
        let mut numbering = Numbering::default();
        numbering.expect(0, at(1));
        assert_eq!(numbering, Numbering::default());
        numbering.take(1, at(1));
        numbering.expect(3, at(2));
        assert_eq!(missing(&numbering), [(2, 3, at(2))]);
        assert_eq!((numbering.highest(), numbering.whole_up_to()), (3, 1));
        for again in [1, 2, 3] {
            numbering.expect(again, at(3));
        }
        assert_eq!(missing(&numbering), [(2, 3, at(2))], "since when stays");
        assert_eq!(numbering.take(5, at(4)), Arrival::Ahead);
        assert_eq!(missing(&numbering), [(2, 3, at(2)), (4, 4, at(4))]);
        for late in [3, 4, 2] {
            assert_eq!(numbering.take(late, at(5)), Arrival::Late);
        }
        assert!(numbering.is_whole());
        numbering.expect(5, at(6));
        assert!(numbering.is_whole(), "it has come");
    }

    proptest! {
        /// In whatever order numbers come, what is missing is what did not come.
        #[test]
        fn missing_is_what_did_not_come(numbers in prop::collection::vec(1u64..40, 0..60)) {
            let mut numbering = Numbering::default();
            let mut come = BTreeSet::new();
            for number in numbers {
                let is_new = come.insert(number);
                prop_assert_eq!(numbering.take(number, at(0)) != Arrival::Known, is_new);
            }
            let highest = come.last().copied().unwrap_or(0);
            let expected: Vec<u64> = (1..=highest).filter(|number| !come.contains(number)).collect();
            let found: Vec<u64> = numbering.missing().iter().flat_map(|gap| gap.from..=gap.to).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(numbering.highest(), highest);
        }
    }
}
