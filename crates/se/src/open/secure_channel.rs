//! Secure channel sessions of security domains on logical channels.

use tsm_globalplatform::security_level::SecurityLevel;
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord};
use zeroize::Zeroizing;

use super::Open;
use super::channels::Place;
use super::registry::EntryId;
use crate::applet::Answer;
use crate::card::Interface;

impl Open {
    pub(super) fn serve_domain(&mut self, _id: EntryId, _place: Place, _command: &CommandApdu) -> Answer {
        Err(StatusWord::INSTRUCTION_NOT_SUPPORTED)
    }

    pub(crate) fn process_security(&mut self, _id: EntryId, _place: Place, _command: &CommandApdu) -> Answer {
        Err(StatusWord::INSTRUCTION_NOT_SUPPORTED)
    }

    pub(crate) fn session_level(&self, _id: EntryId, _place: Place) -> Option<SecurityLevel> {
        None
    }

    pub(crate) fn unwrap_for(
        &mut self,
        _id: EntryId,
        _place: Place,
        _command: &CommandApdu,
    ) -> Result<CommandApdu, StatusWord> {
        Err(StatusWord::SECURITY_STATUS_NOT_SATISFIED)
    }

    pub(crate) fn decrypt_for(
        &mut self,
        _id: EntryId,
        _place: Place,
        _data: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, StatusWord> {
        Err(StatusWord::SECURITY_STATUS_NOT_SATISFIED)
    }

    pub(super) fn protect_response(
        &mut self,
        _interface: Interface,
        _command: &CommandApdu,
        response: ResponseApdu,
    ) -> ResponseApdu {
        response
    }
}
