//! The purse's amounts and counters.

use super::Refusal;
use crate::{Amount, LayoutError, OfflineCounter, OnlineCounter, OverdraftLimit, bytes::Fields};

/// What a purse holds. `overdraft_used` is above zero only when `purse` is zero, and never above the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PurseState {
    purse: Amount,
    overdraft_limit: OverdraftLimit,
    overdraft_used: OverdraftLimit,
    online: OnlineCounter,
    offline: OfflineCounter,
}

/// Amounts that contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Overdraft used beyond the limit.
    #[error("more of the overdraft is used than the limit allows")]
    BeyondLimit,
    /// Overdraft used while the purse holds money.
    #[error("overdraft is used although the purse holds money")]
    UsedWithMoney,
    /// Purse and overdraft together do not fit in four bytes.
    #[error("the purse and its overdraft exceed what a balance can state")]
    Overflow,
    /// Not the layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl PurseState {
    /// Length of the encoded state.
    pub const LENGTH: usize = 14;

    /// A purse with these amounts and counters.
    pub fn new(
        purse: Amount,
        overdraft_limit: OverdraftLimit,
        overdraft_used: OverdraftLimit,
        online: OnlineCounter,
        offline: OfflineCounter,
    ) -> Result<Self, StateError> {
        if overdraft_used > overdraft_limit {
            return Err(StateError::BeyondLimit);
        }
        if overdraft_used > OverdraftLimit::NONE && purse > Amount::ZERO {
            return Err(StateError::UsedWithMoney);
        }
        purse.checked_add(overdraft_limit.amount()).ok_or(StateError::Overflow)?;
        Ok(Self { purse, overdraft_limit, overdraft_used, online, offline })
    }

    /// What can be spent: the purse and the unused overdraft.
    pub const fn usable(&self) -> Amount {
        // `new` bounds the sum, and the used part is never above the limit.
        Amount::from_fen(
            self.purse.fen() + self.overdraft_limit.amount().fen() - self.overdraft_used.amount().fen(),
        )
    }

    /// What the purse truly holds.
    pub const fn purse(&self) -> Amount {
        self.purse
    }

    /// How far the purse may go below zero.
    pub const fn overdraft_limit(&self) -> OverdraftLimit {
        self.overdraft_limit
    }

    /// How far it is below zero.
    pub const fn overdraft_used(&self) -> Amount {
        self.overdraft_used.amount()
    }

    /// The count of online transactions.
    pub const fn online(&self) -> OnlineCounter {
        self.online
    }

    /// The count of offline transactions.
    pub const fn offline(&self) -> OfflineCounter {
        self.offline
    }

    /// After a load: the overdraft is repaid first; the online counter goes up.
    pub(super) fn credited(self, amount: Amount) -> Result<Self, Refusal> {
        let online = self.online.next().ok_or(Refusal::CounterAtLimit)?;
        let repaid = amount.min(self.overdraft_used.amount());
        let below = OverdraftLimit::from_fen(self.overdraft_used.amount().fen() - repaid.fen());
        let overdraft_used = below.ok_or(Refusal::Overflow)?;
        let rest = Amount::from_fen(amount.fen() - repaid.fen());
        let purse = self.purse.checked_add(rest).ok_or(Refusal::Overflow)?;
        purse.checked_add(self.overdraft_limit.amount()).ok_or(Refusal::Overflow)?;
        Ok(Self { purse, overdraft_used, online, ..self })
    }

    /// After a purchase: the purse goes first, then the overdraft; the offline counter goes up.
    pub(super) fn debited_offline(self, amount: Amount) -> Result<Self, Refusal> {
        let offline = self.offline.next().ok_or(Refusal::CounterAtLimit)?;
        let from_purse = amount.min(self.purse);
        let from_overdraft = Amount::from_fen(amount.fen() - from_purse.fen());
        let used = self.overdraft_used.amount().checked_add(from_overdraft).ok_or(Refusal::Insufficient)?;
        let overdraft_used = OverdraftLimit::from_fen(used.fen())
            .filter(|used| *used <= self.overdraft_limit)
            .ok_or(Refusal::Insufficient)?;
        let purse = Amount::from_fen(self.purse.fen() - from_purse.fen());
        Ok(Self { purse, overdraft_used, offline, ..self })
    }

    /// After an unload: only what the purse truly holds can leave; the online counter goes up.
    pub(super) fn unloaded(self, amount: Amount) -> Result<Self, Refusal> {
        let online = self.online.next().ok_or(Refusal::CounterAtLimit)?;
        let purse = self.purse.checked_sub(amount).ok_or(Refusal::Insufficient)?;
        Ok(Self { purse, online, ..self })
    }

    /// After a change of the overdraft limit; the online counter goes up.
    pub(super) fn limited(self, overdraft_limit: OverdraftLimit) -> Result<Self, Refusal> {
        let online = self.online.next().ok_or(Refusal::CounterAtLimit)?;
        if self.overdraft_used > overdraft_limit {
            return Err(Refusal::OverdraftUsed);
        }
        self.purse.checked_add(overdraft_limit.amount()).ok_or(Refusal::Overflow)?;
        Ok(Self { overdraft_limit, online, ..self })
    }

    /// Purse 4, limit 3, used 3, online counter 2, offline counter 2.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut out = [0; Self::LENGTH];
        out[..4].copy_from_slice(&self.purse.to_bytes());
        out[4..7].copy_from_slice(&self.overdraft_limit.to_bytes());
        out[7..10].copy_from_slice(&self.overdraft_used.to_bytes());
        out[10..12].copy_from_slice(&self.online.to_bytes());
        out[12..].copy_from_slice(&self.offline.to_bytes());
        out
    }

    /// Reads what [`PurseState::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let mut fields = Fields::exact("the purse's state", bytes, Self::LENGTH)?;
        Self::new(
            Amount::from_bytes(fields.array()?),
            OverdraftLimit::from_bytes(fields.array()?),
            OverdraftLimit::from_bytes(fields.array()?),
            OnlineCounter::from_bytes(fields.array()?),
            OfflineCounter::from_bytes(fields.array()?),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fen(fen: u32) -> Amount {
        Amount::from_fen(fen)
    }

    fn state(purse: u32, limit: u32, used: u32) -> Result<PurseState, StateError> {
        let limit = OverdraftLimit::from_fen(limit).unwrap();
        let used = OverdraftLimit::from_fen(used).unwrap();
        PurseState::new(fen(purse), limit, used, OnlineCounter::new(1), OfflineCounter::new(1))
    }

    #[test]
    fn overdraft_is_used_last_and_repaid_first() {
        let spent = state(300, 800, 0).unwrap().debited_offline(fen(500)).unwrap();
        assert_eq!((spent.purse(), spent.overdraft_used(), spent.usable()), (fen(0), fen(200), fen(600)));
        assert_eq!(spent.debited_offline(fen(601)), Err(Refusal::Insufficient));
        let loaded = spent.credited(fen(150)).unwrap();
        assert_eq!((loaded.purse(), loaded.overdraft_used(), loaded.usable()), (fen(0), fen(50), fen(750)));
        let loaded = loaded.credited(fen(150)).unwrap();
        assert_eq!((loaded.purse(), loaded.overdraft_used(), loaded.usable()), (fen(100), fen(0), fen(900)));
        assert_eq!(loaded.unloaded(fen(101)), Err(Refusal::Insufficient));
        assert_eq!(spent.limited(OverdraftLimit::from_fen(199).unwrap()), Err(Refusal::OverdraftUsed));
    }

    #[test]
    fn counters_at_their_limit_refuse() {
        let last = PurseState {
            online: OnlineCounter::new(0xFFFF),
            offline: OfflineCounter::new(0xFFFF),
            ..state(9, 0, 0).unwrap()
        };
        assert_eq!(last.credited(fen(1)), Err(Refusal::CounterAtLimit));
        assert_eq!(last.debited_offline(fen(1)), Err(Refusal::CounterAtLimit));
        assert_eq!(last.unloaded(fen(1)), Err(Refusal::CounterAtLimit));
        assert_eq!(last.limited(OverdraftLimit::NONE), Err(Refusal::CounterAtLimit));
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(state(0, 100, 101), Err(StateError::BeyondLimit));
        assert_eq!(state(1, 100, 50), Err(StateError::UsedWithMoney));
        assert_eq!(state(u32::MAX, 1, 0), Err(StateError::Overflow));
        assert_eq!(state(u32::MAX, 0, 0).unwrap().credited(fen(1)), Err(Refusal::Overflow));
        assert_eq!(state(u32::MAX - 1, 1, 0).unwrap().credited(fen(1)), Err(Refusal::Overflow));
    }

    proptest! {
        #[test]
        fn decoding_is_lossless_or_refuses(bytes in prop::collection::vec(any::<u8>(), 14)) {
            if let Ok(state) = PurseState::decode(&bytes) {
                prop_assert_eq!(state.encode().to_vec(), bytes);
            }
        }

        /// Whatever is loaded and spent, what can be spent changes by exactly that, and the state stays one
        /// that can be stored.
        #[test]
        fn no_fen_appears_or_vanishes(start in 0u32..5000, limit in 0u32..3000, moves in prop::collection::vec((0u8..3, 0u32..4000), 0..40)) {
            let mut state = state(start, limit, 0).unwrap();
            for (kind, amount) in moves {
                let before = i64::from(state.usable().fen());
                let (moved, change) = match kind {
                    0 => (state.credited(fen(amount)), i64::from(amount)),
                    1 => (state.debited_offline(fen(amount)), -i64::from(amount)),
                    _ => (state.unloaded(fen(amount)), -i64::from(amount)),
                };
                if let Ok(moved) = moved {
                    prop_assert_eq!(i64::from(moved.usable().fen()), before + change);
                    prop_assert_eq!(PurseState::decode(&moved.encode()), Ok(moved));
                    state = moved;
                }
            }
        }
    }
}
