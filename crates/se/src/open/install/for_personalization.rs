//! INSTALL [for personalization] (GPC 2.3.1, 11.5.2.3.6).

use tsm_globalplatform::commands::install::InstallForPersonalization;
use tsm_iso7816::{ResponseApdu, StatusWord};

use crate::applet::Answer;
use crate::open::Open;
use crate::open::channels::Place;
use crate::open::registry::{EntryId, LOCKED};

impl Open {
    /// The STORE DATA commands that follow in this session go to the application named, which
    /// belongs to the selected domain.
    pub(super) fn install_for_personalization(
        &mut self,
        domain: EntryId,
        place: Place,
        form: &InstallForPersonalization,
    ) -> Answer {
        self.channel_mut(place).end_personalisation();
        let found = self.registry.find_application(&form.application);
        let (id, entry) = found.ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
        if id != domain && entry.domain != domain || entry.state() & LOCKED != 0 {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        self.channel_mut(place).personalising = Some(id);
        Ok(ResponseApdu::success([0x00]))
    }
}
