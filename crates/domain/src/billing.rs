//! What providers pay for: space on SEs and functions (P-5.7.2, table S.3).

use serde::{Deserialize, Serialize};

use crate::amount::Fen;
use crate::provider::ProviderKind;
use crate::security_domain::SpaceManagement;

/// What took space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SpaceUse {
    /// An application was downloaded into the domain.
    ApplicationDownload,
    /// The domain was created.
    DomainCreation,
    /// The application was preset in the domain.
    PresetApplication,
    /// The domain was preset.
    PresetDomain,
}

/// How the domain manages its space; the sizes are the charge's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SpaceKind {
    /// Its space is set apart.
    Fixed,
    /// It shares the SE's.
    NotFixed,
}

/// What is charged for a function (P-5.7.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Function {
    /// Download.
    Download,
    /// Personalisation.
    Personalisation,
    /// Deletion.
    Deletion,
    /// Lock.
    Lock,
    /// Unlock.
    Unlock,
    /// Update of personalisation data.
    PersonalisationUpdate,
    /// Update of domain keys.
    DomainKeyUpdate,
    /// Creation of a domain.
    DomainCreation,
    /// Deletion of a domain.
    DomainDeletion,
}

/// How a function is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FunctionTariff {
    /// For each success.
    PerUse(Fen),
    /// For each month in which it was used.
    PerMonth(Fen),
}

impl From<SpaceManagement> for SpaceKind {
    fn from(space: SpaceManagement) -> Self {
        match space {
            SpaceManagement::Fixed { .. } => Self::Fixed,
            SpaceManagement::NotFixed => Self::NotFixed,
        }
    }
}

/// Whether the size counts: each byte is charged once, by the domain where its space is fixed and by the
/// application where it is not, and the operator's own are free (table S.3).
pub const fn size_counts(owner: ProviderKind, what: SpaceUse, space: SpaceKind) -> bool {
    match (owner, what, space) {
        (ProviderKind::Operator, _, _) => false,
        (ProviderKind::ThirdParty, SpaceUse::ApplicationDownload | SpaceUse::PresetApplication, kind) => {
            matches!(kind, SpaceKind::NotFixed)
        }
        (ProviderKind::ThirdParty, SpaceUse::DomainCreation | SpaceUse::PresetDomain, kind) => {
            matches!(kind, SpaceKind::Fixed)
        }
    }
}

/// The charge for space: users times kilobytes begun times price, or nothing. `None` when it cannot be written.
pub fn space_charge(
    owner: ProviderKind,
    what: SpaceUse,
    space: SpaceKind,
    users: u64,
    bytes: u64,
    price_per_kilobyte: Fen,
) -> Option<Fen> {
    if !size_counts(owner, what, space) {
        return Some(Fen::ZERO);
    }
    let kilobytes = bytes.div_ceil(1024);
    users.checked_mul(kilobytes)?.checked_mul(price_per_kilobyte.get()).map(Fen::new)
}

/// The charge for a function in one month. Failed operations are not counted into `successes`.
pub fn function_charge(tariff: FunctionTariff, successes: u64) -> Option<Fen> {
    match tariff {
        FunctionTariff::PerUse(price) => successes.checked_mul(price.get()).map(Fen::new),
        FunctionTariff::PerMonth(_) if successes == 0 => Some(Fen::ZERO),
        FunctionTariff::PerMonth(price) => Some(price),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The twelve rows of the billing table, in its order.
    ///
    /// req: P-5.7.2.2.1.1, P-5.7.2.2.1.2, P-5.7.2.2.1.3, P-5.7.2.2.1.4, P-5.7.2.2.1.5, P-5.7.2.2.1.6
    /// req: P-5.7.2.2.1.7, P-5.7.2.2.1.8, P-5.7.2.2.1.9, P-5.7.2.2.1.10, P-5.7.2.2.1.11, P-5.7.2.2.1.12
    #[test]
    fn s_3_every_row() {
        use ProviderKind::{Operator, ThirdParty};
        use SpaceKind::{Fixed, NotFixed};
        use SpaceUse::{ApplicationDownload, DomainCreation, PresetApplication, PresetDomain};
        // 3 users, 2048 bytes, 5 fen a kilobyte: 30 fen where the size counts.
        let rows = [
            (Operator, ApplicationDownload, NotFixed, 0),
            (Operator, ApplicationDownload, Fixed, 0),
            (Operator, DomainCreation, Fixed, 0),
            (Operator, DomainCreation, NotFixed, 0),
            (Operator, PresetApplication, NotFixed, 0),
            (Operator, PresetApplication, Fixed, 0),
            (Operator, PresetDomain, Fixed, 0),
            (Operator, PresetDomain, NotFixed, 0),
            (ThirdParty, ApplicationDownload, NotFixed, 30),
            (ThirdParty, ApplicationDownload, Fixed, 0),
            (ThirdParty, DomainCreation, NotFixed, 0),
            (ThirdParty, DomainCreation, Fixed, 30),
            (ThirdParty, PresetDomain, NotFixed, 0),
            (ThirdParty, PresetDomain, Fixed, 30),
            (ThirdParty, PresetApplication, NotFixed, 30),
            (ThirdParty, PresetApplication, Fixed, 0),
        ];
        for (owner, what, space, fen) in rows {
            let charge = space_charge(owner, what, space, 3, 2_048, Fen::new(5));
            assert_eq!(charge, Some(Fen::new(fen)), "{owner:?} {what:?} {space:?}");
        }
    }

    #[test]
    fn a_begun_kilobyte_counts_and_sums_do_not_wrap() {
        let charge = |bytes, users| {
            let (owner, what) = (ProviderKind::ThirdParty, SpaceUse::ApplicationDownload);
            space_charge(owner, what, SpaceKind::NotFixed, users, bytes, Fen::new(5))
        };
        assert_eq!(charge(1_025, 1), Some(Fen::new(10)));
        assert_eq!(charge(1, 0), Some(Fen::ZERO));
        assert_eq!(charge(1_024, u64::MAX), None);
    }

    #[test]
    fn functions_by_use_or_by_month() {
        let rows = [
            (FunctionTariff::PerUse(Fen::new(20)), 0, 0),
            (FunctionTariff::PerUse(Fen::new(20)), 7, 140),
            (FunctionTariff::PerMonth(Fen::new(500)), 0, 0),
            (FunctionTariff::PerMonth(Fen::new(500)), 7, 500),
        ];
        for (tariff, successes, fen) in rows {
            assert_eq!(function_charge(tariff, successes), Some(Fen::new(fen)), "{tariff:?} x {successes}");
        }
    }
}
