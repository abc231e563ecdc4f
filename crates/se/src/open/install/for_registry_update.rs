//! INSTALL [for registry update] (GPC 2.3.1, 11.5.2.3.5 and 9.4.2).

use tsm_globalplatform::commands::install::{InstallForRegistryUpdate, InstallParameters};
use tsm_globalplatform::receipt::Confirmed;
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord};

use crate::applet::Answer;
use crate::open::Open;
use crate::open::authority::Signed;
use crate::open::channels::Place;
use crate::open::registry::EntryId;

impl Open {
    pub(super) fn install_for_registry_update(
        &mut self,
        domain: EntryId,
        place: Place,
        command: &CommandApdu,
        form: &InstallForRegistryUpdate,
    ) -> Answer {
        let authority = self.authorize(domain, place, &Signed::last_field(command, &form.token))?;
        let aid = form.application.ok_or(StatusWord::WRONG_DATA)?;
        let (id, entry) =
            self.registry.find_application(&aid).ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
        let current = entry.privileges();
        let from = self.registry.entry(entry.domain).aid;
        self.require_within(id, domain)?;
        let parameters = InstallParameters::parse(&form.parameters).map_err(|error| error.status_word())?;
        if let Some(privileges) = form.privileges {
            // The issuer's domain keeps what it was made with: without it nobody manages the card.
            if id == EntryId::ISSUER_DOMAIN {
                return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
            }
            // An application does not become a security domain, nor cease to be one.
            if privileges.is_security_domain() != current.is_security_domain() {
                return Err(StatusWord::WRONG_DATA);
            }
            self.require_grantable(domain, privileges)?;
            self.pass_on_unique_privileges(privileges.without(current))?;
        }
        if let Some(to) = form.security_domain {
            self.extradite(id, &to)?;
        }
        let application = self.registry_mut().entry_mut(id).as_application_mut();
        let application = application.expect("the entry was found among applications");
        if let Some(privileges) = form.privileges {
            application.privileges = privileges;
        }
        if !parameters.implicit_selection.is_empty() {
            application.implicit_selection =
                parameters.implicit_selection.iter().map(|one| one.value()).collect();
        }
        // GPC 2.3.1 C.5 has no receipt of a registry update as such: the extradition within one has.
        match form.security_domain {
            Some(to) => self.confirm(authority, Confirmed::Extradition { from, object: aid, to }),
            None => Ok(ResponseApdu::success([0x00])),
        }
    }
}
