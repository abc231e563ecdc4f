//! INSTALL [for extradition] (GPC 2.3.1, 11.5.2.3.4 and 9.4.1).

use tsm_globalplatform::commands::install::InstallForExtradition;
use tsm_globalplatform::receipt::Confirmed;
use tsm_iso7816::{Aid, CommandApdu, StatusWord};

use crate::applet::Answer;
use crate::domain::Extradition;
use crate::open::Open;
use crate::open::authority::Signed;
use crate::open::channels::Place;
use crate::open::registry::{EntryId, Kind};

impl Open {
    pub(super) fn install_for_extradition(
        &mut self,
        domain: EntryId,
        place: Place,
        command: &CommandApdu,
        form: &InstallForExtradition,
    ) -> Answer {
        let authority = self.authorize(domain, place, &Signed::last_field(command, &form.token))?;
        let (id, entry) = self.registry.find(&form.object).ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
        let from = self.registry.entry(entry.domain).aid;
        self.require_within(id, domain)?;
        self.extradite(id, &form.security_domain)?;
        let confirmed = Confirmed::Extradition { from, object: form.object, to: form.security_domain };
        self.confirm(authority, confirmed)
    }

    /// Gives an entry to another security domain.
    pub(super) fn extradite(&mut self, id: EntryId, to: &Aid) -> Result<(), StatusWord> {
        let to = self.registry.find_domain(to).ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
        self.require_personalized(to)?;
        let entry = self.registry.entry(id);
        let leaves = self.registry.domain(entry.domain).extradition;
        let is_domain = matches!(entry.kind, Kind::SecurityDomain(..));
        // A domain may be given to itself, but not to one that belongs to it.
        let circular = is_domain && id != to && self.registry.is_within(to, id);
        if id == EntryId::ISSUER_DOMAIN || leaves == Extradition::Refused || circular {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        if to != id {
            self.require_room_to_move(id, to)?;
        }
        // What runs under the domain it leaves has no session with the new one.
        self.registry_mut().entry_mut(id).domain = to;
        Ok(())
    }
}
