//! A parked card on its way to another SE (B-7.6.1.e to i), as its issuer keeps it.
//!
//! ```text
//! claiming --> claimed --> writing ------------> opened --> told
//!     |           |           |                    ^
//!     |           |           +--> giving up ------+
//!     |           |           |       |    |
//!     |           |           +-> cleared  |
//!     |           |                   |    |
//!     +-----------+-------------------+----+---> given up
//! ```
//!
//! Until *writing* nothing of the card was sent to the SE, so the claim can be given back at once. From
//! *writing* on the SE may hold a copy that can spend, and may have spent from it. So the claim is given back
//! when the SE's registry shows that the application is not there, though nobody had it deleted; or when the
//! purse proved that it is another than the one that was sent, and then its deletion is shown. Nothing is
//! deleted before that proof: what a copy had spent could never be told any more.

use serde::{Deserialize, Serialize};
use tsm_iso7816::Aid;

use crate::id::{CardNumber, Msisdn, OperationId, SeId};

/// How far an arrival has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ArrivalState {
    /// The centre is about to be asked for the card.
    Claiming,
    /// The centre keeps the card for this SE.
    Claimed,
    /// The card's data were about to be sent; the SE tells at the next contact.
    Writing,
    /// The SE proved that it holds the card.
    Opened,
    /// The centre knows that it does.
    Told,
    /// The rider gives up, and whether the SE holds the card is not proven: nothing may be deleted.
    GivingUp,
    /// The rider gives up, and the purse on the SE proved that it is not the card that was sent: it may be
    /// deleted.
    Cleared,
    /// The card stays parked, for another SE or a refund.
    GivenUp,
}

/// An arrival.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// Its number, which is the claim's at the centre too.
    pub operation: OperationId,
    /// The card.
    pub card: CardNumber,
    /// The SE that carried it.
    pub from: SeId,
    /// The SE that it goes to.
    pub se: SeId,
    /// The application.
    pub application: Aid,
    /// The number that both SEs are registered to (P-5.5.4.b).
    pub number: Msisdn,
    /// How far it has come.
    pub state: ArrivalState,
    /// When it was ordered.
    pub created_at: jiff::Timestamp,
}

/// Why a step is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a migration that is {} cannot become {}", .from.words(), .to.words())]
pub struct ArrivalRefusal {
    /// From.
    pub from: ArrivalState,
    /// To.
    pub to: ArrivalState,
}

impl ArrivalState {
    /// The state in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Claiming => "asking for the card",
            Self::Claimed => "ready to be written",
            Self::Writing => "being written",
            Self::Opened => "in use",
            Self::Told => "finished",
            Self::GivingUp => "being given up",
            Self::Cleared => "being given up, with nothing of it on the phone",
            Self::GivenUp => "given up",
        }
    }

    /// Whether it has not ended.
    pub const fn is_open(self) -> bool {
        match self {
            Self::Claiming
            | Self::Claimed
            | Self::Writing
            | Self::Opened
            | Self::GivingUp
            | Self::Cleared => true,
            Self::Told | Self::GivenUp => false,
        }
    }

    /// The arrival becomes `to`. Becoming what it is changes nothing.
    pub fn moved_to(self, to: Self) -> Result<Self, ArrivalRefusal> {
        let allowed = match self {
            Self::Claiming => &[Self::Claimed, Self::GivenUp][..],
            Self::Claimed => &[Self::Writing, Self::GivenUp],
            Self::Writing => &[Self::Opened, Self::GivingUp, Self::Cleared],
            // The card had it after all.
            Self::GivingUp => &[Self::Opened, Self::Cleared, Self::GivenUp],
            Self::Cleared => &[Self::GivenUp],
            Self::Opened => &[Self::Told],
            Self::Told | Self::GivenUp => &[],
        };
        if self == to || allowed.contains(&to) { Ok(to) } else { Err(ArrivalRefusal { from: self, to }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [ArrivalState; 8] = [
        ArrivalState::Claiming,
        ArrivalState::Claimed,
        ArrivalState::Writing,
        ArrivalState::Opened,
        ArrivalState::Told,
        ArrivalState::GivingUp,
        ArrivalState::Cleared,
        ArrivalState::GivenUp,
    ];

    #[test]
    fn the_whole_table() {
        use ArrivalState::{Claimed, Claiming, Cleared, GivenUp, GivingUp, Opened, Told, Writing};
        let allowed = [
            (Claiming, Claimed),
            (Claiming, GivenUp),
            (Claimed, Writing),
            (Claimed, GivenUp),
            (Writing, Opened),
            (Writing, GivingUp),
            (Writing, Cleared),
            (GivingUp, Opened),
            (GivingUp, Cleared),
            (GivingUp, GivenUp),
            (Cleared, GivenUp),
            (Opened, Told),
        ];
        for from in ALL {
            for to in ALL {
                let expected = from == to || allowed.contains(&(from, to));
                assert_eq!(from.moved_to(to).is_ok(), expected, "{from:?} {to:?}");
            }
        }
    }

    /// Once something was sent, no step leads to *given up* without the SE's proof in between.
    #[test]
    fn what_was_written_is_not_given_up_at_once() {
        assert!(ArrivalState::Writing.moved_to(ArrivalState::GivenUp).is_err());
        assert!(ArrivalState::Opened.moved_to(ArrivalState::GivingUp).is_err());
        assert!(ArrivalState::Cleared.moved_to(ArrivalState::Opened).is_err());
        assert_eq!(ALL.into_iter().filter(|state| !state.is_open()).count(), 2);
    }
}
