//! INSTALL [for load] (GPC 2.3.1, 11.5.2.3.1 and 9.3.5).

use tsm_globalplatform::commands::install::{CombinedProcess, InstallForLoad, InstallParameters};
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord};

use crate::applet::Answer;
use crate::open::Open;
use crate::open::authority::Signed;
use crate::open::channels::Place;
use crate::open::load::Loading;
use crate::open::registry::EntryId;

impl Open {
    pub(super) fn install_for_load(
        &mut self,
        domain: EntryId,
        place: Place,
        command: &CommandApdu,
        form: &InstallForLoad,
    ) -> Answer {
        // A new loading discards what an unfinished one has brought (GPC 2.3.1 9.3.5).
        self.channel_mut(place).loading = None;
        let authority = self.authorize(domain, place, &Signed::last_field(command, &form.token))?;
        let target = match form.security_domain {
            None => domain,
            Some(aid) => self.registry.find_domain(&aid).ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?,
        };
        self.require_within(target, domain)?;
        self.require_personalized(target)?;
        if self.registry.is_taken(&form.load_file) {
            return Err(StatusWord::FILE_ALREADY_EXISTS);
        }
        if !matches!(form.hash.len(), 0 | 20 | 32 | 48 | 64) {
            return Err(StatusWord::WRONG_DATA);
        }
        let parameters = InstallParameters::parse(&form.parameters).map_err(|error| error.status_word())?;
        self.require_room(target, &parameters)?;
        let loading = Loading::new(target, form.load_file, form.hash.clone(), authority, form.process);
        let channel = self.channel_mut(place);
        channel.loading = Some(Box::new(loading));
        channel.combined = (form.process == CombinedProcess::Combined).then_some(form.load_file);
        Ok(ResponseApdu::success([0x00]))
    }

    // GPC 2.3.1 11.5.2.3.7: C6 code, C8 data, C7 volatile are what must be there at least.
    fn require_room(&self, target: EntryId, parameters: &InstallParameters) -> Result<(), StatusWord> {
        let non_volatile = parameters
            .non_volatile_code
            .unwrap_or(0)
            .saturating_add(parameters.non_volatile_data.unwrap_or(0));
        let volatile = parameters.volatile_data.unwrap_or(0);
        if non_volatile > self.free_for(target) || volatile > self.volatile_free_for(target) {
            return Err(StatusWord::NOT_ENOUGH_MEMORY);
        }
        Ok(())
    }
}
