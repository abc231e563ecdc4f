//! A card at the clearing centre: at most one copy of it can spend, always.
//!
//! ```text
//!            opened                 return or migration begun
//! opening ----------> live ------------------------------------> closing
//!    ^ |                ^              blocking undone              | read under R-MAC
//!    | |                +-------------------------------------------+----> parked
//!    | | given up                                                             |  |
//!    | +-----------> refund payable -----> refunded <-------------------------+  |
//!    +---------------------------- migrated in -----------------------------------+
//! ```

use serde::{Deserialize, Serialize};

use crate::amount::Fen;
use crate::id::SeId;

/// Why a card is being closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClosingPurpose {
    /// The rider returns it for a refund.
    Return,
    /// It moves to another SE.
    Migration,
}

/// Where a card is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CardAccountState {
    /// It is being written to this SE; the balance it will have came from parking, or is zero.
    Opening {
        /// The SE that will carry it.
        se: SeId,
        /// The value that a migration brings in.
        incoming: Fen,
    },
    /// It can spend, on this SE.
    Live {
        /// The SE that carries it.
        se: SeId,
    },
    /// It was ordered to be blocked; whether it was is not proven.
    Closing {
        /// The SE that carries it.
        se: SeId,
        /// Why.
        purpose: ClosingPurpose,
    },
    /// It is on no SE that can spend; its proven balance and data are kept here.
    Parked {
        /// The balance that the blocked card proved.
        balance: Fen,
    },
    /// It will not come back; this much is owed to the rider.
    RefundPayable {
        /// What is owed.
        amount: Fen,
    },
    /// Closed and paid out. The end.
    Refunded,
}

/// Why a card is frozen for value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// The reason, in words.
    pub reason: String,
}

/// A card account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardAccount {
    /// Where the card is.
    pub state: CardAccountState,
    /// Set while the card is suspicious: no value moves.
    pub freeze: Option<Freeze>,
}

/// What happens to a card account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CardAccountEvent {
    /// The SE carries the card, personalised and useable.
    Opened(SeId),
    /// The opening was given up before the card could spend; this much was paid for it.
    OpeningGivenUp {
        /// The SE whose opening ended.
        se: SeId,
        /// What goes back to the rider beside the incoming value.
        paid: Fen,
    },
    /// A return or migration began.
    ClosingBegun(ClosingPurpose),
    /// The closing was undone: the card proved that it is not blocked, or was unblocked.
    ClosingUndone,
    /// The blocked card was read, and it proved this balance.
    Parked(Fen),
    /// A parked card goes to another SE.
    MigrationIn(SeId),
    /// The migration to this SE was given up before the card was written to it.
    ClaimReleased(SeId),
    /// A parked card is returned.
    RefundOrdered,
    /// The refund was paid out.
    RefundPaid,
}

/// Why an event is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CardAccountRefusal {
    /// The event does not fit.
    #[error("a card that is {state} cannot be {event}")]
    State {
        /// The state in words.
        state: &'static str,
        /// The event in words.
        event: &'static str,
    },
    /// Another SE carries the card.
    #[error("the card belongs to SE {0}")]
    AnotherSe(SeId),
    /// The card is frozen.
    #[error("the card is frozen for value until it has been examined")]
    Frozen,
}

impl CardAccountState {
    /// The state in words.
    pub const fn words(&self) -> &'static str {
        match self {
            Self::Opening { .. } => "being opened",
            Self::Live { .. } => "live",
            Self::Closing { .. } => "being closed",
            Self::Parked { .. } => "parked",
            Self::RefundPayable { .. } => "awaiting its refund",
            Self::Refunded => "refunded",
        }
    }

    /// The SE that carries or will carry a copy which could spend.
    pub const fn carrier(&self) -> Option<SeId> {
        match self {
            Self::Opening { se, .. } | Self::Live { se } | Self::Closing { se, .. } => Some(*se),
            Self::Parked { .. } | Self::RefundPayable { .. } | Self::Refunded => None,
        }
    }
}

impl CardAccountEvent {
    const fn words(&self) -> &'static str {
        match self {
            Self::Opened(_) => "opened",
            Self::OpeningGivenUp { .. } => "given up as an opening",
            Self::ClosingBegun(ClosingPurpose::Return) => "returned",
            Self::ClosingBegun(ClosingPurpose::Migration) => "migrated out",
            Self::ClosingUndone => "put back to use",
            Self::Parked(_) => "parked",
            Self::MigrationIn(_) => "migrated in",
            Self::ClaimReleased(_) => "put back to parking",
            Self::RefundOrdered => "ordered for refund",
            Self::RefundPaid => "paid out",
        }
    }
}

impl CardAccount {
    /// The account of a card that is about to be written to `se`.
    pub const fn opening(se: SeId) -> Self {
        Self { state: CardAccountState::Opening { se, incoming: Fen::ZERO }, freeze: None }
    }

    /// The account after `event`. Repeating the event that led to the present state changes nothing.
    pub fn apply(self, event: CardAccountEvent) -> Result<Self, CardAccountRefusal> {
        use CardAccountEvent as Event;
        use CardAccountState as State;
        let state = match (&self.state, event) {
            (State::Opening { se, .. } | State::Live { se }, Event::Opened(on)) if *se == on => {
                State::Live { se: on }
            }
            (State::Opening { se, .. } | State::Live { se }, Event::Opened(_)) => {
                return Err(CardAccountRefusal::AnotherSe(*se));
            }
            (State::Opening { se, incoming }, Event::OpeningGivenUp { se: on, paid }) if *se == on => {
                if incoming.is_zero() {
                    State::RefundPayable { amount: paid }
                } else {
                    State::Parked { balance: *incoming }
                }
            }
            (State::Opening { se, .. }, Event::OpeningGivenUp { .. }) => {
                return Err(CardAccountRefusal::AnotherSe(*se));
            }
            (State::Live { .. }, Event::ClosingBegun(_)) if self.freeze.is_some() => {
                return Err(CardAccountRefusal::Frozen);
            }
            (State::Live { se }, Event::ClosingBegun(purpose)) => State::Closing { se: *se, purpose },
            (State::Closing { se, purpose }, Event::ClosingBegun(again)) if *purpose == again => {
                State::Closing { se: *se, purpose: again }
            }
            (State::Closing { se, .. }, Event::ClosingUndone) => State::Live { se: *se },
            (State::Closing { .. }, Event::Parked(balance)) => State::Parked { balance },
            (State::Parked { balance }, Event::Parked(again)) if *balance == again => {
                State::Parked { balance: again }
            }
            (State::Parked { .. }, Event::MigrationIn(_) | Event::RefundOrdered) if self.freeze.is_some() => {
                return Err(CardAccountRefusal::Frozen);
            }
            (State::Parked { balance }, Event::MigrationIn(se)) => State::Opening { se, incoming: *balance },
            (State::Opening { se, incoming }, Event::MigrationIn(on)) if *se == on => {
                State::Opening { se: on, incoming: *incoming }
            }
            (State::Opening { se, incoming }, Event::ClaimReleased(on)) if *se == on => {
                State::Parked { balance: *incoming }
            }
            (State::Parked { balance }, Event::RefundOrdered) => State::RefundPayable { amount: *balance },
            (State::RefundPayable { amount }, Event::RefundOrdered) => {
                State::RefundPayable { amount: *amount }
            }
            (State::RefundPayable { .. }, Event::RefundPaid) if self.freeze.is_some() => {
                return Err(CardAccountRefusal::Frozen);
            }
            (State::RefundPayable { .. } | State::Refunded, Event::RefundPaid) => State::Refunded,
            (state, event) => {
                return Err(CardAccountRefusal::State { state: state.words(), event: event.words() });
            }
        };
        Ok(Self { state, ..self })
    }

    /// The account, frozen for value with a reason.
    pub fn frozen(self, reason: String) -> Self {
        Self { freeze: Some(Freeze { reason }), ..self }
    }

    /// The account after a person has examined the card.
    pub fn released(self) -> Self {
        Self { freeze: None, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CardAccountEvent as Event;
    use CardAccountState as State;

    fn se(n: u8) -> SeId {
        SeId::new(&[n; 8]).unwrap()
    }

    fn states() -> [State; 6] {
        [
            State::Opening { se: se(1), incoming: Fen::ZERO },
            State::Live { se: se(1) },
            State::Closing { se: se(1), purpose: ClosingPurpose::Return },
            State::Parked { balance: Fen::new(30) },
            State::RefundPayable { amount: Fen::new(30) },
            State::Refunded,
        ]
    }

    /// Each state with each event: what is not listed is refused.
    #[test]
    fn the_whole_table() {
        let events = [
            Event::Opened(se(1)),
            Event::OpeningGivenUp { se: se(1), paid: Fen::new(20) },
            Event::ClosingBegun(ClosingPurpose::Return),
            Event::ClosingUndone,
            Event::Parked(Fen::new(30)),
            Event::MigrationIn(se(2)),
            Event::ClaimReleased(se(1)),
            Event::RefundOrdered,
            Event::RefundPaid,
        ];
        let expected = [
            "live, refund, -, -, -, -, parked, -, -",
            "live, -, closing, -, -, -, -, -, -",
            "-, -, closing, live, parked, -, -, -, -",
            "-, -, -, -, parked, opening, -, refund, -",
            "-, -, -, -, -, -, -, refund, refunded",
            "-, -, -, -, -, -, -, -, refunded",
        ];
        for (state, row) in states().into_iter().zip(expected) {
            let found: Vec<_> = events
                .iter()
                .map(|event| match (CardAccount { state: state.clone(), freeze: None }).apply(*event) {
                    Ok(CardAccount { state: State::Opening { .. }, .. }) => "opening",
                    Ok(CardAccount { state: State::Live { .. }, .. }) => "live",
                    Ok(CardAccount { state: State::Closing { .. }, .. }) => "closing",
                    Ok(CardAccount { state: State::Parked { .. }, .. }) => "parked",
                    Ok(CardAccount { state: State::RefundPayable { .. }, .. }) => "refund",
                    Ok(CardAccount { state: State::Refunded, .. }) => "refunded",
                    Err(_) => "-",
                })
                .collect();
            assert_eq!(found.join(", "), row, "{state:?}");
        }
    }

    /// At most one copy that could spend, and never none without a parked copy or a debt to the rider.
    #[test]
    fn a_migration_keeps_exactly_one_copy() {
        let live = CardAccount::opening(se(1)).apply(Event::Opened(se(1))).unwrap();
        assert_eq!(live.clone().apply(Event::MigrationIn(se(2))).map_err(|_| ()), Err(()), "two copies");
        let parked = live
            .apply(Event::ClosingBegun(ClosingPurpose::Migration))
            .and_then(|closing| closing.apply(Event::Parked(Fen::new(30))))
            .unwrap();
        assert_eq!(parked.state.carrier(), None);
        let moving = parked.apply(Event::MigrationIn(se(2))).unwrap();
        assert!(moving.clone().apply(Event::MigrationIn(se(3))).is_err(), "two phones claim one parked card");
        assert_eq!(moving.clone().apply(Event::Opened(se(3))), Err(CardAccountRefusal::AnotherSe(se(2))));
        let given_up = moving.apply(Event::OpeningGivenUp { se: se(2), paid: Fen::ZERO }).unwrap();
        assert_eq!(given_up.state, State::Parked { balance: Fen::new(30) });
    }

    #[test]
    fn a_frozen_card_moves_no_value() {
        let live =
            CardAccount { state: State::Live { se: se(1) }, freeze: None }.frozen("counter went back".into());
        assert_eq!(
            live.clone().apply(Event::ClosingBegun(ClosingPurpose::Return)),
            Err(CardAccountRefusal::Frozen)
        );
        assert!(live.released().apply(Event::ClosingBegun(ClosingPurpose::Return)).is_ok());
    }
}
