//! The switches that the texts leave open, gathered so that an operator sets them in one place.

use serde::{Deserialize, Serialize};

use crate::amount::Fen;
use crate::se_application::{DeletionPolicy, UnlockPolicy};
use crate::user::{TokenCoding, TokenValidity};

/// What to do with an interrupted download (D-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ResumePolicy {
    /// Complete load files, domains and instances are kept; the rest is sent.
    Resume,
    /// Residue is deleted and the download begins anew.
    DeleteResidueFirst,
}

/// What a configured security level of 02 means (D-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Level02Policy {
    /// It means 03: encryption implies the MAC.
    ReadAs03,
    /// It is refused.
    Refuse,
}

/// Where the contactless channel may be used (D-6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ContactlessPolicy {
    /// In staffed halls only.
    HallOnly,
    /// At any reader.
    Anywhere,
}

/// The policy of a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Interrupted downloads.
    pub resume: ResumePolicy,
    /// Security level 02.
    pub level_02: Level02Policy,
    /// Contactless readers.
    pub contactless: ContactlessPolicy,
    /// Who unlocks after a loss report.
    pub unlock_after_loss: UnlockPolicy,
    /// Who unlocks the user's own temporary lock.
    pub unlock_own_lock: UnlockPolicy,
    /// Deletion while locked (D-7).
    pub deletion_while_locked: DeletionPolicy,
    /// How long a TOKEN counts.
    pub token_validity: TokenValidity,
    /// How tag 1047 is coded (D-10).
    pub token_coding: TokenCoding,
    /// Seconds to wait for the open notice (P-5.8.7.2.n).
    pub opening_period_seconds: u32,
    /// The most a purse may hold.
    pub purse_maximum: Fen,
    /// The most one top-up may be.
    pub top_up_maximum: Fen,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            resume: ResumePolicy::Resume,
            level_02: Level02Policy::ReadAs03,
            contactless: ContactlessPolicy::Anywhere,
            unlock_after_loss: UnlockPolicy::HallOnly,
            unlock_own_lock: UnlockPolicy::HallOrClient,
            deletion_while_locked: DeletionPolicy::WhileLocked,
            token_validity: TokenValidity { days: 30 },
            token_coding: TokenCoding::Dgi,
            opening_period_seconds: 3 * 24 * 3_600,
            purse_maximum: Fen::new(100_000),
            top_up_maximum: Fen::new(50_000),
        }
    }
}

/// A security level that no policy allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("security level {0:02X} is refused; configure 01 or 03")]
pub struct LevelRefused(pub u8);

impl Policy {
    /// The level that a configured level of the text stands for (P-5.8.9.2.d, D-4).
    pub const fn security_level(&self, configured: u8) -> Result<u8, LevelRefused> {
        match (configured, self.level_02) {
            (0x01 | 0x03, _) => Ok(configured),
            (0x02, Level02Policy::ReadAs03) => Ok(0x03),
            _ => Err(LevelRefused(configured)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decision D-4.
    #[test]
    fn level_02_by_policy() {
        let lenient = Policy::default();
        let strict = Policy { level_02: Level02Policy::Refuse, ..Policy::default() };
        for (configured, by_lenient, by_strict) in
            [(1, Ok(1), Ok(1)), (2, Ok(3), Err(())), (3, Ok(3), Ok(3)), (4, Err(()), Err(()))]
        {
            assert_eq!(lenient.security_level(configured).map_err(|_| ()), by_lenient, "{configured}");
            assert_eq!(strict.security_level(configured).map_err(|_| ()), by_strict, "{configured}");
        }
    }

    #[test]
    fn a_policy_file_may_name_only_what_it_changes() {
        let read: Policy = serde_json::from_str(r#"{"resume":"DeleteResidueFirst"}"#).unwrap();
        assert_eq!(read, Policy { resume: ResumePolicy::DeleteResidueFirst, ..Policy::default() });
    }
}
