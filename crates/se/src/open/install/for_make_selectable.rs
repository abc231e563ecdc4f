//! INSTALL [for make selectable] (GPC 2.3.1, 11.5.2.3.3).

use tsm_globalplatform::commands::install::{InstallForMakeSelectable, InstallParameters};
use tsm_globalplatform::receipt::Confirmed;
use tsm_iso7816::{CommandApdu, StatusWord};

use crate::applet::Answer;
use crate::open::Open;
use crate::open::authority::Signed;
use crate::open::channels::Place;
use crate::open::registry::EntryId;

const INSTALLED: u8 = 0x03;
const SELECTABLE: u8 = 0x07;

impl Open {
    pub(super) fn install_for_make_selectable(
        &mut self,
        domain: EntryId,
        place: Place,
        command: &CommandApdu,
        form: &InstallForMakeSelectable,
    ) -> Answer {
        let authority = self.authorize(domain, place, &Signed::last_field(command, &form.token))?;
        let found = self.registry.find_application(&form.application);
        let (id, entry) = found.ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
        let load_file = entry.as_application().and_then(|application| application.load_file);
        let state = entry.state();
        self.require_within(id, domain)?;
        let parameters = InstallParameters::parse(&form.parameters).map_err(|error| error.status_word())?;
        if let Some(privileges) = form.privileges {
            self.require_grantable(domain, self.registry.entry(id).privileges() | privileges)?;
            self.pass_on_unique_privileges(privileges.without(self.registry.entry(id).privileges()))?;
        }
        if state != INSTALLED {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        let application = self.registry_mut().entry_mut(id).as_application_mut();
        let application = application.expect("the entry was found among applications");
        application.state = SELECTABLE;
        if let Some(privileges) = form.privileges {
            application.privileges = application.privileges | privileges;
        }
        if !parameters.implicit_selection.is_empty() {
            application.implicit_selection =
                parameters.implicit_selection.iter().map(|one| one.value()).collect();
        }
        let load_file =
            load_file.and_then(|id| self.registry.get(id)).map_or(form.application, |entry| entry.aid);
        self.confirm(authority, Confirmed::Install { load_file, application: form.application })
    }
}
