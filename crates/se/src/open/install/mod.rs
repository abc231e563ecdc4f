//! INSTALL in all its forms (GPC 2.3.1, 11.5).

mod for_extradition;
mod for_install;
mod for_load;
mod for_make_selectable;
mod for_personalization;
mod for_registry_update;

use tsm_globalplatform::commands::Install;
use tsm_globalplatform::privileges::Privileges;
use tsm_iso7816::{CommandApdu, StatusWord};

use super::Open;
use super::channels::Place;
use super::registry::EntryId;
use crate::applet::Answer;

impl Open {
    pub(super) fn install(&mut self, domain: EntryId, place: Place, command: &CommandApdu) -> Answer {
        self.require_management(domain, place)?;
        match Install::try_from(command).map_err(|error| error.status_word())? {
            Install::ForLoad(form) => self.install_for_load(domain, place, command, &form),
            Install::ForInstall(form) => self.install_for_install(domain, place, command, &form),
            Install::ForMakeSelectable(form) => {
                self.install_for_make_selectable(domain, place, command, &form)
            }
            Install::ForExtradition(form) => self.install_for_extradition(domain, place, command, &form),
            Install::ForPersonalization(form) => self.install_for_personalization(domain, place, &form),
            Install::ForRegistryUpdate(form) => {
                self.install_for_registry_update(domain, place, command, &form)
            }
        }
    }

    /// Whether `domain` may give an application these privileges.
    ///
    /// A domain other than the issuer's gives nobody a power over the whole card that it does not
    /// have itself.
    // GPC 2.3.1 6.6.1 and 6.6.3.
    fn require_grantable(&self, domain: EntryId, privileges: Privileges) -> Result<(), StatusWord> {
        const CARD_WIDE: [Privileges; 10] = [
            Privileges::CARD_LOCK,
            Privileges::CARD_TERMINATE,
            Privileges::CARD_RESET,
            Privileges::CVM_MANAGEMENT,
            Privileges::TOKEN_VERIFICATION,
            Privileges::GLOBAL_DELETE,
            Privileges::GLOBAL_LOCK,
            Privileges::GLOBAL_REGISTRY,
            Privileges::FINAL_APPLICATION,
            Privileges::RECEIPT_GENERATION,
        ];
        if !privileges.is_consistent() {
            return Err(StatusWord::WRONG_DATA);
        }
        let own = self.registry.entry(domain).privileges();
        let delegated = own.contains(Privileges::DELEGATED_MANAGEMENT);
        let beyond = CARD_WIDE.iter().any(|one| privileges.contains(*one) && !own.contains(*one));
        // What a token allows the issuer has allowed.
        if domain != EntryId::ISSUER_DOMAIN && !delegated && beyond {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        Ok(())
    }

    /// Gives the privileges that one application at a time may hold to a new holder: the issuer's
    /// domain passes them on, another holder keeps them.
    // GPC 2.3.1 6.6.2: card reset and final application have one holder.
    fn pass_on_unique_privileges(&mut self, privileges: Privileges) -> Result<(), StatusWord> {
        for unique in [Privileges::CARD_RESET, Privileges::FINAL_APPLICATION] {
            if !privileges.contains(unique) {
                continue;
            }
            match self.registry.holder_of(unique) {
                None => {}
                Some(EntryId::ISSUER_DOMAIN) => {
                    let issuer = self.registry_mut().entry_mut(EntryId::ISSUER_DOMAIN).as_application_mut();
                    let issuer = issuer.expect("the issuer's domain is an application");
                    issuer.privileges = issuer.privileges.without(unique);
                }
                Some(_) => return Err(StatusWord::CONDITIONS_NOT_SATISFIED),
            }
        }
        Ok(())
    }
}
