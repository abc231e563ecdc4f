//! The commands of a selected security domain: takes off the secure messaging and hands each
//! command to its module (GPC 2.3.1, chapter 11).

use tsm_globalplatform::commands::{
    BeginRMacSession, Delete, EndRMacSession, ExternalAuthenticate, GetData, GetStatus, InitializeUpdate,
    Install, Load, PutKey, SetStatus, StoreData,
};
use tsm_globalplatform::life_cycle::{CardLifeCycle, SecurityDomainLifeCycle};
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_iso7816::channel::Class;
use tsm_iso7816::{CommandApdu, StatusWord};

use super::Open;
use super::channels::Place;
use super::registry::EntryId;
use crate::applet::Answer;
use crate::profile::MINIMUM_LEVEL;

impl Open {
    pub(super) fn serve_domain(&mut self, domain: EntryId, place: Place, command: &CommandApdu) -> Answer {
        let class = Class::parse(command.cla).map_err(|_| StatusWord::CLASS_NOT_SUPPORTED)?;
        if class.chaining {
            return Err(StatusWord::COMMAND_CHAINING_NOT_SUPPORTED);
        }
        if let Some(refusal) = refusal(class, command.ins) {
            // The host has counted the command into its session, so the card does too.
            if class.secured {
                self.plain_command(domain, place, class, command)?;
            }
            return Err(refusal);
        }
        if matches!(command.ins, InitializeUpdate::INS | ExternalAuthenticate::INS) {
            return self.open_session(domain, place, command);
        }
        let plain = self.plain_command(domain, place, class, command)?;
        self.require_card_serving(plain.ins)?;
        match plain.ins {
            Delete::INS => self.delete(domain, place, &plain),
            GetData::INS => self.get_data(domain, &plain),
            GetStatus::INS => self.get_status(domain, place, &plain),
            Install::INS => self.install(domain, place, &plain),
            Load::INS => self.load(domain, place, &plain),
            PutKey::INS => self.put_key(domain, place, &plain),
            SetStatus::INS => self.set_status(domain, place, &plain),
            StoreData::INS => self.store_data(domain, place, &plain),
            BeginRMacSession::INS => self.begin_r_mac(domain, place, &plain),
            EndRMacSession::INS => self.end_r_mac(domain, place, &plain),
            _ => Err(StatusWord::INSTRUCTION_NOT_SUPPORTED),
        }
    }

    /// The command without secure messaging. In a session every command must be as the session's
    /// level says, except that GET DATA, which reveals nothing, may stand outside where its class
    /// tells that it does.
    fn plain_command(
        &mut self,
        domain: EntryId,
        place: Place,
        class: Class,
        command: &CommandApdu,
    ) -> Result<CommandApdu, StatusWord> {
        let level = self.require_session(domain, place).ok();
        match level {
            None if class.secured => Err(StatusWord::SECURITY_STATUS_NOT_SATISFIED),
            None => Ok(command.clone()),
            Some(level) if command.ins == GetData::INS && !class.secured && level.has_c_mac() => {
                Ok(command.clone())
            }
            Some(_) => self.unwrap_command(domain, place, command),
        }
    }

    // GPC 2.3.1 5.1.1.4: a locked card serves what unlocks or ends it, and GET DATA.
    fn require_card_serving(&self, ins: u8) -> Result<(), StatusWord> {
        let serves =
            matches!(ins, SetStatus::INS | GetData::INS | BeginRMacSession::INS | EndRMacSession::INS);
        if self.registry.card_state() == CardLifeCycle::CardLocked && !serves {
            return Err(StatusWord::FUNCTION_NOT_SUPPORTED);
        }
        Ok(())
    }

    /// Requires an authenticated host, and on a secured card at least a C-MAC
    /// (JT/T 1059, table 1; GPC 2.3.1, 10.2.3).
    pub(super) fn require_management(
        &self,
        domain: EntryId,
        place: Place,
    ) -> Result<SecurityLevel, StatusWord> {
        let level = self.require_session(domain, place)?;
        let secured = match self.registry.card_state() {
            CardLifeCycle::OpReady | CardLifeCycle::Initialized => false,
            CardLifeCycle::Secured | CardLifeCycle::CardLocked | CardLifeCycle::Terminated => true,
        };
        if secured && !level.covers(MINIMUM_LEVEL) {
            return Err(StatusWord::SECURITY_STATUS_NOT_SATISFIED);
        }
        Ok(level)
    }

    /// Whether a domain may manage content or have content: the issuer's, or one personalised.
    pub(super) fn require_personalized(&self, domain: EntryId) -> Result<(), StatusWord> {
        let personalized = SecurityDomainLifeCycle::Personalized.value();
        if domain == EntryId::ISSUER_DOMAIN || self.registry.entry(domain).state() == personalized {
            Ok(())
        } else {
            Err(StatusWord::CONDITIONS_NOT_SATISFIED)
        }
    }
}

/// Why a domain refuses a command for its header alone.
fn refusal(class: Class, ins: u8) -> Option<StatusWord> {
    if !is_known(ins) {
        return Some(StatusWord::INSTRUCTION_NOT_SUPPORTED);
    }
    // GET DATA alone also exists as an interindustry command.
    (!class.proprietary && ins != GetData::INS).then_some(StatusWord::CLASS_NOT_SUPPORTED)
}

const fn is_known(ins: u8) -> bool {
    matches!(
        ins,
        InitializeUpdate::INS
            | ExternalAuthenticate::INS
            | Delete::INS
            | GetData::INS
            | GetStatus::INS
            | Install::INS
            | Load::INS
            | PutKey::INS
            | SetStatus::INS
            | StoreData::INS
            | BeginRMacSession::INS
            | EndRMacSession::INS
    )
}
