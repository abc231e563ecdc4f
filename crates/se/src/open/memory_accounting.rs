//! Who uses how much memory (JT/T P-5.8.7.1: a load file uses immutable code space, an instance
//! immutable data space, and running it mutable data space).
//!
//! A security domain of fixed space takes that space from the card when it is made, and what
//! belongs to it is then charged to it; everything else is charged to the card.

use tsm_iso7816::StatusWord;

use super::Open;
use super::registry::{Entry, EntryId};
use crate::card::Usage;
use crate::domain::FixedSpace;

/// Memory that content is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pool {
    Card,
    Domain(EntryId),
}

impl Open {
    /// The memory of the whole card.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = self.usage_of(Pool::Card);
        usage.applications = self.application_count(None);
        usage
    }

    /// The memory that a domain disposes of: its own if its space is fixed, else the card's.
    pub(crate) fn usage_seen_by(&self, domain: EntryId) -> Usage {
        let mut usage = self.usage_of(self.pool_of_content(domain));
        usage.applications = self.application_count((domain != EntryId::ISSUER_DOMAIN).then_some(domain));
        usage
    }

    fn application_count(&self, within: Option<EntryId>) -> u16 {
        let counted = self.registry.iter().filter(|(id, entry)| {
            *id != EntryId::ISSUER_DOMAIN
                && entry.as_application().is_some()
                && within.is_none_or(|domain| *id != domain && self.registry.is_within(*id, domain))
        });
        u16::try_from(counted.count()).unwrap_or(u16::MAX)
    }

    /// Free non-volatile memory for content of `domain`.
    pub(crate) fn free_for(&self, domain: EntryId) -> u32 {
        self.usage_of(self.pool_of_content(domain)).non_volatile_free()
    }

    /// Free volatile memory for content of `domain`.
    pub(crate) fn volatile_free_for(&self, domain: EntryId) -> u32 {
        self.usage_of(self.pool_of_content(domain)).volatile_free()
    }

    /// Refuses with 6A84 when entry `id` cannot take `more` bytes.
    pub(crate) fn require_growth(&self, id: EntryId, more: u32) -> Result<(), StatusWord> {
        let entry = self.registry.entry(id);
        let used = self.data_bytes(id, entry);
        let reserved = entry.as_application().map_or(0, |application| application.reserved_bytes);
        // What was reserved is there to be used.
        let beyond = (used.saturating_add(more)).saturating_sub(used.max(reserved));
        let free = self.usage_of(self.pool_of(id)).non_volatile_free();
        if beyond <= free { Ok(()) } else { Err(StatusWord::NOT_ENOUGH_MEMORY) }
    }

    /// Refuses with 6A84 when a domain, which had `before` bytes of keys and data, has outgrown
    /// its memory.
    pub(crate) fn require_grown(&self, domain: EntryId, before: usize) -> Result<(), StatusWord> {
        let usage = self.usage_of(self.pool_of(domain));
        let fits = usage.code.saturating_add(usage.data) <= usage.non_volatile_total;
        if fits || self.domain_data(domain).size() <= before {
            Ok(())
        } else {
            Err(StatusWord::NOT_ENOUGH_MEMORY)
        }
    }

    /// Refuses with 6A84 when the memory of domain `to` has no room for an entry that moves there.
    pub(crate) fn require_room_to_move(&self, id: EntryId, to: EntryId) -> Result<(), StatusWord> {
        let (from_pool, to_pool) = (self.pool_of(id), self.pool_of_content(to));
        if from_pool == to_pool || from_pool == Pool::Domain(id) {
            return Ok(());
        }
        let mut moved = Usage::default();
        self.charge(&mut moved, id, self.registry.entry(id));
        let there = self.usage_of(to_pool);
        let fits = moved.code.saturating_add(moved.data) <= there.non_volatile_free()
            && moved.volatile <= there.volatile_free();
        if fits { Ok(()) } else { Err(StatusWord::NOT_ENOUGH_MEMORY) }
    }

    /// The pool that content associated with `domain` is charged to.
    fn pool_of_content(&self, domain: EntryId) -> Pool {
        let mut at = domain;
        for _ in 0..=u16::MAX {
            let Some(entry) = self.registry.get(at) else { break };
            if entry.as_domain().is_some_and(|data| data.fixed_space.is_some()) {
                return Pool::Domain(at);
            }
            if at == EntryId::ISSUER_DOMAIN || entry.domain == at {
                break;
            }
            at = entry.domain;
        }
        Pool::Card
    }

    /// The pool that what entry `id` uses is charged to: its own if it is a domain of fixed space.
    fn pool_of(&self, id: EntryId) -> Pool {
        let entry = self.registry.entry(id);
        if entry.as_domain().is_some() {
            self.pool_of_content(id)
        } else {
            self.pool_of_content(entry.domain)
        }
    }

    fn usage_of(&self, pool: Pool) -> Usage {
        let mut usage = match pool {
            Pool::Card => Usage {
                non_volatile_total: self.settings.non_volatile_bytes,
                volatile_total: self.settings.volatile_bytes,
                ..Usage::default()
            },
            Pool::Domain(id) => {
                let space = self.fixed_space(id).unwrap_or(FixedSpace { non_volatile: 0, volatile: 0 });
                Usage {
                    non_volatile_total: space.non_volatile,
                    volatile_total: space.volatile,
                    ..Usage::default()
                }
            }
        };
        for (id, entry) in self.registry.iter() {
            if self.pool_of(id) == pool {
                self.charge(&mut usage, id, entry);
            }
            // Space set aside for a domain comes out of the card's, wherever the domain belongs.
            if let (Pool::Card, Some(space)) = (pool, self.fixed_space(id)) {
                usage.data = usage.data.saturating_add(space.non_volatile);
                usage.volatile = usage.volatile.saturating_add(space.volatile);
            }
        }
        for (_, channel) in self.all_channels() {
            if let Some(loading) =
                channel.loading.as_ref().filter(|it| self.pool_of_content(it.domain) == pool)
            {
                usage.code = usage.code.saturating_add(loading.charged_bytes());
            }
        }
        usage
    }

    fn fixed_space(&self, id: EntryId) -> Option<FixedSpace> {
        self.registry.get(id)?.as_domain()?.fixed_space
    }

    fn charge(&self, usage: &mut Usage, id: EntryId, entry: &Entry) {
        if let Some(load_file) = entry.as_load_file() {
            usage.code = usage.code.saturating_add(load_file.code_bytes);
        }
        if let Some(application) = entry.as_application() {
            let data = self.data_bytes(id, entry).max(application.reserved_bytes);
            usage.data = usage.data.saturating_add(data);
            usage.volatile = usage.volatile.saturating_add(application.volatile_bytes);
        }
    }

    /// What an instance has written, or a security domain holds.
    fn data_bytes(&self, id: EntryId, entry: &Entry) -> u32 {
        let domain = entry.as_domain().map_or(0, |data| data.size());
        u32::try_from(self.memory.data_size(id.0) + domain).unwrap_or(u32::MAX)
    }
}
