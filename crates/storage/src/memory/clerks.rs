//! The accounts of people, in memory.

use async_trait::async_trait;
use tsm_domain::InstitutionId;
use tsm_domain::money::reconciliation::Clerk;

use super::Memory;
use super::shared::HasShared;
use crate::clerks::{ClerkAccount, Clerks, is_to_write};
use crate::error::Result;

#[async_trait]
impl<S: HasShared> Clerks for Memory<S> {
    async fn clerk(&self, clerk: &Clerk) -> Result<Option<ClerkAccount>> {
        let key = (clerk.institution.clone(), clerk.person.clone());
        self.read(|state| Ok(state.shared().clerks.get(&key).cloned()))
    }

    async fn clerks_of(&self, institution: &InstitutionId) -> Result<Vec<ClerkAccount>> {
        self.read(|state| {
            let own = state.shared().clerks.iter().filter(|((of, _), _)| of == institution);
            Ok(own.map(|(_, account)| account.clone()).collect())
        })
    }

    async fn put_clerk(&self, before: Option<ClerkAccount>, after: ClerkAccount) -> Result<()> {
        self.write(|state| {
            let key = (after.clerk.institution.clone(), after.clerk.person.clone());
            if is_to_write(state.shared().clerks.get(&key), before.as_ref(), &after)? {
                state.shared_mut().clerks.insert(key, after);
            }
            Ok(())
        })
    }
}
