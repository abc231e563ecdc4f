//! Migrations that were ordered elsewhere: by the rider on another phone of his, at customer service, or in a
//! hall (P-5.5.4.d). The login told what this phone has to do; each application goes by itself (P-5.5.4.e).

use tsm_api::se_tsm::migrations::{
    DueMigration, MigrationPart, ORDER_OWN_MIGRATION, OWN_MIGRATIONS, OrderedMigration, OwnMigration,
};
use tsm_api::{HexBytes, Nothing, Problem};

use super::{Wallet, WalletError};
use crate::interaction::Interaction;
use crate::network::Host;
use crate::se_operation::SecureElementAccess;
use crate::storage::WalletStorage;

/// What came of this phone's part of a migration.
#[derive(Debug, Clone, PartialEq)]
pub enum MigrationStep {
    /// The card is parked for the other phone.
    Parked(HexBytes),
    /// The card is in use here.
    Arrived(HexBytes),
    /// It cannot be done now, for this reason; the others go on.
    Refused(HexBytes, Problem),
}

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// What this phone has to do, as the login told.
    pub fn due_migrations(&self) -> &[DueMigration] {
        self.session.as_ref().map_or(&[], |session| &session.migrations)
    }

    /// Does this phone's part of all migrations that were ordered elsewhere. One that is refused leaves the
    /// others alone; one that breaks off is due again at the next login.
    pub async fn carry_migrations(
        &mut self,
        shown: &mut dyn Interaction,
    ) -> Result<Vec<MigrationStep>, WalletError> {
        let due = match &mut self.session {
            Some(session) => std::mem::take(&mut session.migrations),
            None => return Err(WalletError::NoSession),
        };
        let mut steps = Vec::new();
        for DueMigration { aid, part, .. } in due {
            let done = match part {
                MigrationPart::Out => {
                    self.migrate_out(&aid, shown).await.map(|_| MigrationStep::Parked(aid.clone()))
                }
                MigrationPart::In => {
                    self.migrate_in(&aid, None, shown).await.map(|()| MigrationStep::Arrived(aid.clone()))
                }
            };
            match done {
                Ok(step) => steps.push(step),
                Err(WalletError::Refused(problem)) => steps.push(MigrationStep::Refused(aid, *problem)),
                Err(other) => return Err(other),
            }
        }
        Ok(steps)
    }

    /// Orders that an application moves from this phone to another one of the rider's, or from there to here.
    pub async fn order_migration(
        &self,
        aid: &HexBytes,
        part: MigrationPart,
        other: &HexBytes,
    ) -> Result<OrderedMigration, WalletError> {
        self.require_full_rights()?;
        let (from, to) = match part {
            MigrationPart::Out => (None, Some(other.clone())),
            MigrationPart::In => (Some(other.clone()), None),
        };
        let order = OwnMigration { request: self.request_id(), aid: aid.clone(), from, to };
        let bearer = self.bearer()?;
        Ok(self.network.call(Host::SeTsm, &ORDER_OWN_MIGRATION, &[], Some(bearer), &order).await?)
    }

    /// The migrations to and from this phone that were ordered at the platform, newest first.
    pub async fn ordered_migrations(&self) -> Result<Vec<OrderedMigration>, WalletError> {
        self.require_full_rights()?;
        let bearer = self.bearer()?;
        let known = self.network.call(Host::SeTsm, &OWN_MIGRATIONS, &[], Some(bearer), &Nothing {}).await?;
        Ok(known.migrations)
    }
}
