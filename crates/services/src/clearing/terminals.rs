//! The terminals whose transactions the centre takes, and whose they are.

use std::collections::{BTreeMap, BTreeSet};

use tsm_api::signature::MessageVerifier;
use tsm_domain::TerminalNumber;
use tsm_domain::money::fare::StationId;

/// A terminal as it is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredTerminal {
    /// The number of the institution that operates it and reports its transactions.
    pub operator: String,
    /// The key of its store; a terminal that has one must sign its batches, and its rows in files.
    pub key: Option<MessageVerifier>,
    /// Where it stands, so that its fares can be worked out once more.
    pub place: TerminalPlace,
}

/// Where a terminal stands, as far as fares depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TerminalPlace {
    /// Nobody has said; what it charges is not judged.
    #[default]
    Unknown,
    /// A gate of a station: it lets in for nothing and charges on the way out.
    Gate {
        /// The industry's number, as the transit records have it.
        industry: u8,
        /// The station.
        station: StationId,
    },
    /// It takes the fare on boarding, and sells nothing else.
    Boarding {
        /// The industry's number.
        industry: u8,
    },
    /// It sells, and takes no fares.
    Till,
}

/// The registered terminals.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terminals(BTreeMap<TerminalNumber, RegisteredTerminal>);

impl Terminals {
    /// Terminals of one institution, without keys.
    pub fn of(operator: &str, numbers: impl IntoIterator<Item = TerminalNumber>) -> Self {
        let place = TerminalPlace::Unknown;
        let of = |number| (number, RegisteredTerminal { operator: operator.to_owned(), key: None, place });
        Self(numbers.into_iter().map(of).collect())
    }

    /// These and others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The same terminals, one of which has this key.
    #[must_use]
    pub fn with_key(mut self, number: TerminalNumber, key: MessageVerifier) -> Self {
        if let Some(terminal) = self.0.get_mut(&number) {
            terminal.key = Some(key);
        }
        self
    }

    /// The same terminals, one of which stands here.
    #[must_use]
    pub fn with_place(mut self, number: TerminalNumber, place: TerminalPlace) -> Self {
        if let Some(terminal) = self.0.get_mut(&number) {
            terminal.place = place;
        }
        self
    }

    /// Where a terminal stands.
    pub fn place(&self, number: TerminalNumber) -> TerminalPlace {
        self.0.get(&number).map_or(TerminalPlace::Unknown, |terminal| terminal.place)
    }

    /// The institutions of which some terminal's place is known.
    pub fn operators_with_places(&self) -> BTreeSet<&str> {
        let known = self.0.values().filter(|terminal| terminal.place != TerminalPlace::Unknown);
        known.map(|terminal| terminal.operator.as_str()).collect()
    }

    /// The terminal with this number, if it is this institution's.
    pub fn of_operator(&self, operator: &str, number: TerminalNumber) -> Option<&RegisteredTerminal> {
        self.0.get(&number).filter(|terminal| terminal.operator == operator)
    }

    /// Whether a terminal of this institution has a key.
    pub fn has_keys(&self, operator: &str) -> bool {
        self.0.values().any(|terminal| terminal.operator == operator && terminal.key.is_some())
    }

    /// The institution that operates a terminal.
    pub fn operator(&self, number: TerminalNumber) -> Option<&str> {
        self.0.get(&number).map(|terminal| terminal.operator.as_str())
    }

    /// The numbers of an institution's terminals, in order.
    pub fn numbers_of<'a>(&'a self, operator: &'a str) -> impl Iterator<Item = TerminalNumber> + 'a {
        self.0.iter().filter(move |(_, terminal)| terminal.operator == operator).map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_of_one_institution() {
        let number = |text: &str| text.parse::<TerminalNumber>().unwrap();
        let [gate, bus] = [number("099900000042"), number("099900000043")];
        let terminals = Terminals::of("METRO", [gate]).and(Terminals::of("BUS", [bus]));
        assert!(terminals.of_operator("METRO", gate).is_some());
        assert!(terminals.of_operator("BUS", gate).is_none());
        assert_eq!(terminals.operator(bus), Some("BUS"));
        assert_eq!(terminals.numbers_of("METRO").collect::<Vec<_>>(), [gate]);
    }
}
