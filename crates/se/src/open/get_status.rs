//! GET STATUS (GPC 2.3.1, 11.4).

use tsm_globalplatform::commands::GetStatus;
use tsm_globalplatform::commands::get_status::{Page as Position, RegistryScope, StatusForm};
use tsm_globalplatform::life_cycle::{LifeCycle, LoadFileLifeCycle};
use tsm_globalplatform::privileges::Privileges;
use tsm_globalplatform::registry as answer;
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord};

use super::Open;
use super::channels::Place;
use super::registry::{Entry, EntryId, Kind};
use crate::applet::Answer;

/// Where a GET STATUS that did not fit its response goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    scope: RegistryScope,
    after: EntryId,
}

/// The most data of one answer: what a short response holds with a 16-byte R-MAC and a padded
/// encrypted block.
const SHORT_LIMIT: usize = 224;
/// The same in an extended response.
const EXTENDED_LIMIT: usize = 32 * 1024;

impl Open {
    pub(super) fn get_status(&mut self, domain: EntryId, place: Place, command: &CommandApdu) -> Answer {
        self.require_session(domain, place)?;
        let page = self.channel_mut(place).page.take();
        let request = GetStatus::try_from(command).map_err(|error| error.status_word())?;
        let after = match request.page {
            Position::First => None,
            Position::Next => {
                let page = page.filter(|page| page.scope == request.scope);
                Some(page.ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)?.after)
            }
        };
        let limit = match command.ne {
            Some(ne) if ne > 256 => EXTENDED_LIMIT.min(ne as usize - 32),
            _ => SHORT_LIMIT,
        };
        let mut data = Vec::new();
        let mut last = None;
        let mut status = StatusWord::SUCCESS;
        for (id, entry) in self.registry.iter() {
            if after.is_some_and(|after| id <= after) || !self.is_shown(domain, &request, id, entry) {
                continue;
            }
            let written = self.write_entry_status(&request, entry);
            let Some(written) = written else { continue };
            if !data.is_empty() && data.len() + written.len() > limit {
                status = StatusWord::MORE_DATA_AVAILABLE;
                break;
            }
            data.extend(written);
            last = Some(id);
        }
        let last = last.ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
        if status == StatusWord::MORE_DATA_AVAILABLE {
            self.channel_mut(place).page = Some(Page { scope: request.scope, after: last });
        }
        Ok(ResponseApdu::new(data, status))
    }

    /// Whether an entry is in the scope asked for, has the prefix, and may be seen: a domain sees
    /// itself and what is within its hierarchy, one with global registry all (GPC 2.3.1, 6.6).
    fn is_shown(&self, domain: EntryId, request: &GetStatus, id: EntryId, entry: &Entry) -> bool {
        let in_scope = match (request.scope, &entry.kind) {
            (RegistryScope::IssuerSecurityDomain, _) => id == EntryId::ISSUER_DOMAIN,
            (RegistryScope::Applications, Kind::Application(_) | Kind::SecurityDomain(..)) => {
                id != EntryId::ISSUER_DOMAIN
            }
            (RegistryScope::LoadFiles | RegistryScope::LoadFilesAndModules, Kind::LoadFile(_)) => true,
            (RegistryScope::Applications, Kind::LoadFile(_))
            | (
                RegistryScope::LoadFiles | RegistryScope::LoadFilesAndModules,
                Kind::Application(_) | Kind::SecurityDomain(..),
            ) => false,
        };
        let sees_all = self.registry.entry(domain).privileges().contains(Privileges::GLOBAL_REGISTRY);
        in_scope
            && entry.aid.starts_with(&request.aid_prefix)
            && (sees_all || self.registry.is_within(id, domain))
    }

    fn write_entry_status(&self, request: &GetStatus, entry: &Entry) -> Option<Vec<u8>> {
        let entry = self.status_of(request.scope, entry)?;
        let mut out = Vec::new();
        match request.form {
            StatusForm::Tlv => entry.write_tlv(&request.tag_list, &mut out),
            StatusForm::LengthValue => entry.write_length_value(request.scope, &mut out),
        }
        Some(out)
    }

    fn status_of(&self, scope: RegistryScope, entry: &Entry) -> Option<answer::RegistryEntry> {
        let aid_of = |id| self.registry.get(id).map(|entry| entry.aid);
        let security_domain = aid_of(entry.domain);
        Some(match &entry.kind {
            Kind::LoadFile(load_file) => answer::RegistryEntry::LoadFile(answer::LoadFileEntry {
                aid: entry.aid,
                life_cycle: LoadFileLifeCycle::Loaded,
                version: Some(load_file.version.to_vec()),
                modules: match scope {
                    RegistryScope::LoadFilesAndModules => load_file.modules.clone(),
                    RegistryScope::IssuerSecurityDomain
                    | RegistryScope::Applications
                    | RegistryScope::LoadFiles => Vec::new(),
                },
                security_domain,
            }),
            Kind::Application(application) | Kind::SecurityDomain(application, _) => {
                let issuer = scope == RegistryScope::IssuerSecurityDomain;
                let life_cycle =
                    if issuer { LifeCycle::Card(self.registry.card_state()) } else { entry.life_cycle()? };
                answer::RegistryEntry::Application(answer::ApplicationEntry {
                    aid: entry.aid,
                    life_cycle,
                    privileges: application.privileges,
                    implicit_selection: application.implicit_selection.clone(),
                    load_file: application.load_file.and_then(aid_of),
                    security_domain: security_domain.filter(|_| !issuer),
                })
            }
        })
    }
}
