//! What a purse counts: amounts, counters, states and failures. One object, so that a transaction
//! changes it in one write.

use tsm_epurse::Algorithm;
use tsm_epurse::card::PurseState;
use tsm_iso7816::StatusWord;

use super::objects;
use crate::applet::AppletContext;

/// How often in a row a MAC may be wrong under a transaction key before the key refuses (6983).
pub(super) const TRANSACTION_FAILURES: u8 = 15;
/// How often in a row a MAC of secure messaging may be wrong before the key refuses (6983).
pub(super) const MESSAGING_FAILURES: u8 = 15;
/// How often in a row an APPLICATION UNBLOCK or PIN UNBLOCK may be wrong before the purse locks
/// itself for ever (PBOC 2.0 part 2: three).
pub(super) const UNBLOCK_FAILURES: u8 = 3;

/// Whether the purse works (D-35).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Availability {
    /// It works.
    #[default]
    Open,
    /// APPLICATION BLOCK 841E0000: files are readable, transactions are refused, it can be undone.
    BlockedForNow,
    /// APPLICATION BLOCK 841E0001, or too many wrong unblocks.
    BlockedForEver,
    /// CARD BLOCK: the purse cannot be selected any more.
    CardBlocked,
}

/// Which failures are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failures {
    /// MAC2 of CREDIT FOR LOAD, DEBIT FOR UNLOAD and UPDATE OVERDRAFT LIMIT.
    Online,
    /// MAC1 of a debit.
    Purchase,
    /// Secure messaging and external authentication.
    Messaging,
    /// APPLICATION UNBLOCK and PIN UNBLOCK.
    Unblock,
}

/// The numbers of one purse.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ledger {
    /// The amounts and the counters.
    pub(super) state: PurseState,
    /// Changes with every transaction on whatever channel: a pending one begun before is void.
    pub(super) revision: u32,
    /// Whether it works.
    pub(super) availability: Availability,
    /// Whether personalisation was completed.
    pub(super) personalised: bool,
    /// The key set that transactions use.
    pub(super) algorithm: Algorithm,
    /// The version that INITIALIZE answers state for the keys.
    pub(super) key_version: u8,
    /// Where the next EF18 record goes, and how many there are.
    pub(super) log: Ring,
    /// Where the next EF1E record goes, and how many there are.
    pub(super) history: Ring,
    failures: [u8; 4],
}

/// A place in a cyclic file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ring {
    /// The slot the next record takes.
    pub(super) next: u8,
    /// How many slots are taken.
    pub(super) filled: u8,
}

impl Failures {
    const fn index(self) -> usize {
        match self {
            Self::Online => 0,
            Self::Purchase => 1,
            Self::Messaging => 2,
            Self::Unblock => 3,
        }
    }

    const fn limit(self) -> u8 {
        match self {
            Self::Online | Self::Purchase => TRANSACTION_FAILURES,
            Self::Messaging => MESSAGING_FAILURES,
            Self::Unblock => UNBLOCK_FAILURES,
        }
    }
}

impl Ledger {
    pub(super) fn read(context: &AppletContext<'_>) -> Result<Self, StatusWord> {
        let bytes = context.read(objects::LEDGER).ok_or(StatusWord::MEMORY_FAILURE)?;
        Self::decode(bytes).ok_or(StatusWord::MEMORY_FAILURE)
    }

    /// Writes the ledger. A purse that can never be selected again leaves the contactless directory.
    pub(super) fn write(&self, context: &mut AppletContext<'_>) -> Result<(), StatusWord> {
        match self.availability {
            Availability::Open | Availability::BlockedForNow => {}
            Availability::BlockedForEver | Availability::CardBlocked => context.set_directory_entry(None),
        }
        context.write(objects::LEDGER, &self.encode())
    }

    /// Refuses transactions of a purse that is blocked or has no data yet.
    pub(super) fn require_open(&self) -> Result<(), StatusWord> {
        match self.availability {
            Availability::Open if self.personalised => Ok(()),
            Availability::Open | Availability::BlockedForNow => Err(StatusWord::CONDITIONS_NOT_SATISFIED),
            Availability::BlockedForEver => Err(StatusWord::APPLICATION_PERMANENTLY_LOCKED),
            Availability::CardBlocked => Err(StatusWord::FUNCTION_NOT_SUPPORTED),
        }
    }

    /// Refuses a key that failed too often.
    pub(super) fn require_tries(&self, failures: Failures) -> Result<(), StatusWord> {
        if self.failures[failures.index()] < failures.limit() {
            Ok(())
        } else {
            Err(StatusWord::AUTHENTICATION_METHOD_BLOCKED)
        }
    }

    /// Counts one failure.
    pub(super) fn failed(&mut self, failures: Failures) {
        let count = &mut self.failures[failures.index()];
        *count = count.saturating_add(1);
        if matches!(failures, Failures::Unblock) && *count >= failures.limit() {
            self.availability = Availability::BlockedForEver;
        }
    }

    /// Forgets the failures.
    pub(super) fn succeeded(&mut self, failures: Failures) {
        self.failures[failures.index()] = 0;
    }

    /// Marks that a transaction happened: every pending one is void.
    pub(super) fn advance(&mut self) {
        self.revision = self.revision.wrapping_add(1);
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = self.state.encode().to_vec();
        out.extend(self.revision.to_be_bytes());
        out.extend([
            self.availability.to_byte(),
            u8::from(self.personalised),
            self.algorithm.identifier(),
            self.key_version,
        ]);
        out.extend([self.log.next, self.log.filled, self.history.next, self.history.filled]);
        out.extend(self.failures);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (state, rest) = bytes.split_first_chunk::<{ PurseState::LENGTH }>()?;
        let [
            r0,
            r1,
            r2,
            r3,
            availability,
            personalised,
            algorithm,
            key_version,
            l0,
            l1,
            h0,
            h1,
            ref failures @ ..,
        ] = *rest
        else {
            return None;
        };
        Some(Self {
            state: PurseState::decode(state).ok()?,
            revision: u32::from_be_bytes([r0, r1, r2, r3]),
            availability: Availability::from_byte(availability)?,
            personalised: personalised != 0,
            algorithm: Algorithm::try_from(algorithm).ok()?,
            key_version,
            log: Ring { next: l0, filled: l1 },
            history: Ring { next: h0, filled: h1 },
            failures: failures.try_into().ok()?,
        })
    }
}

impl Availability {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::BlockedForNow => 1,
            Self::BlockedForEver => 2,
            Self::CardBlocked => 3,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Open,
            1 => Self::BlockedForNow,
            2 => Self::BlockedForEver,
            3 => Self::CardBlocked,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_wrote() {
        let mut full = Ledger {
            revision: 0x0C0D_0E0F,
            availability: Availability::BlockedForNow,
            personalised: true,
            algorithm: Algorithm::Sm4,
            key_version: 7,
            log: Ring { next: 3, filled: 10 },
            history: Ring { next: 4, filled: 30 },
            ..Ledger::default()
        };
        full.failed(Failures::Purchase);
        full.failed(Failures::Unblock);
        assert_eq!(Ledger::decode(&full.encode()), Some(full));
        assert_eq!(Ledger::decode(&[0; 3]), None);
    }

    #[test]
    fn three_wrong_unblocks_lock_for_ever() {
        let mut ledger = Ledger { availability: Availability::BlockedForNow, ..Ledger::default() };
        ledger.failed(Failures::Unblock);
        ledger.failed(Failures::Unblock);
        assert_eq!(ledger.availability, Availability::BlockedForNow);
        ledger.failed(Failures::Unblock);
        assert_eq!(ledger.availability, Availability::BlockedForEver);
    }
}
