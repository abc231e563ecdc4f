//! The seals over the journals in memory.

use async_trait::async_trait;
use tsm_domain::money::Transfer;
use tsm_domain::money::journal::{SealedHead, SignedSeal};

use super::ClearingState;
use crate::clearing::seals::{bounds, is_new_seal};
use crate::clearing::{SealOver, Seals};
use crate::error::Result;
use crate::memory::Memory;
use crate::shared::{ChainKey, Entry};

fn head(entry: &Entry) -> SealedHead {
    SealedHead { chain: entry.note.chain.to_text(), number: entry.number, hash: entry.hash }
}

#[async_trait]
impl Seals for Memory<ClearingState> {
    async fn unsealed_heads(&self, limit: usize) -> Result<Vec<SealedHead>> {
        self.read(|state| {
            let sealed = |head: &SealedHead| {
                let of_chain = state.seals.values().flat_map(|(_, heads)| heads);
                of_chain.filter(|sealed| sealed.chain == head.chain).map(|sealed| sealed.number).max()
            };
            let grew = |head: &SealedHead| sealed(head).is_none_or(|number| number < head.number);
            Ok(state.shared.heads().map(head).filter(grew).take(limit).collect())
        })
    }

    async fn put_seal(&self, seal: SignedSeal, heads: Vec<SealedHead>) -> Result<()> {
        self.write(|state| {
            let stored = state.seals.get(&seal.seal.number).map(|(seal, _)| seal);
            if is_new_seal(stored, &seal)? {
                state.seals.insert(seal.seal.number, (seal, heads));
            }
            Ok(())
        })
    }

    async fn last_seal(&self) -> Result<Option<SignedSeal>> {
        self.read(|state| Ok(state.seals.values().next_back().map(|(seal, _)| seal.clone())))
    }

    async fn seals(&self, after: u64, limit: usize) -> Result<Vec<SignedSeal>> {
        self.read(|state| {
            let later = state.seals.range(after.saturating_add(1)..).take(limit);
            Ok(later.map(|(_, (seal, _))| seal.clone()).collect())
        })
    }

    async fn sealed_heads(&self, seal: u64) -> Result<Vec<SealedHead>> {
        self.read(|state| {
            let mut heads = state.seals.get(&seal).map(|(_, heads)| heads.clone()).unwrap_or_default();
            heads.sort();
            Ok(heads)
        })
    }

    async fn control_transfers_on(&self, day: jiff::civil::Date) -> Result<Vec<Transfer>> {
        let (from, until) = bounds(day)?;
        self.read(|state| {
            let about_none =
                |transfer: &&Transfer| transfer.debit.card().is_none() && transfer.credit.card().is_none();
            let transfers = state.ledger.transfers().iter().filter(about_none);
            let mut found: Vec<_> =
                transfers.filter(|transfer| (from..until).contains(&transfer.at)).cloned().collect();
            found.sort_by_key(|transfer| (transfer.at, transfer.id));
            Ok(found)
        })
    }

    async fn seal_over(&self, chain: ChainKey, number: u64) -> Result<Option<SealOver>> {
        let chain = chain.to_text();
        self.read(|state| {
            Ok(state.seals.iter().find_map(|(seal, (_, heads))| {
                let head = heads.iter().find(|head| head.chain == chain && head.number >= number)?;
                Some(SealOver { seal: *seal, head: head.clone() })
            }))
        })
    }
}
