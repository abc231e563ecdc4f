//! SET STATUS: life-cycle states of the card, its domains, applications and load files
//! (GPC 2.3.1, 11.10 and chapter 5).

use tsm_globalplatform::commands::SetStatus;
use tsm_globalplatform::commands::set_status::StatusTarget;
use tsm_globalplatform::life_cycle::{CardLifeCycle, SecurityDomainLifeCycle};
use tsm_globalplatform::privileges::Privileges;
use tsm_iso7816::{Aid, CommandApdu, ResponseApdu, StatusWord};

use super::Open;
use super::channels::{Channel, Place};
use super::registry::{EntryId, Kind, LOCKED, Usability};
use crate::applet::Answer;

impl Open {
    pub(super) fn set_status(&mut self, domain: EntryId, place: Place, command: &CommandApdu) -> Answer {
        self.require_management(domain, place)?;
        let request = SetStatus::try_from(command).map_err(|error| error.status_word())?;
        match request.target {
            StatusTarget::IssuerSecurityDomain => self.set_card_status(domain, request.state)?,
            StatusTarget::Application(aid) => {
                let id = self.target(&aid)?;
                self.set_application_status(domain, id, request.state)?;
            }
            StatusTarget::SecurityDomainAndApplications(aid) => {
                self.set_group_status(domain, &aid, request.state)?
            }
            StatusTarget::LoadFile(aid) => self.set_load_file_status(domain, &aid, request.state)?,
        }
        self.close_what_is_locked(place);
        Ok(ResponseApdu::success([]))
    }

    fn target(&self, aid: &Aid) -> Result<EntryId, StatusWord> {
        self.registry.find_application(aid).map(|(id, _)| id).ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)
    }

    // GPC 2.3.1 5.1.2 and figure 5-1.
    fn set_card_status(&mut self, domain: EntryId, state: u8) -> Result<(), StatusWord> {
        use CardLifeCycle::{CardLocked, Initialized, OpReady, Secured, Terminated};
        let state = CardLifeCycle::try_from(state).map_err(|_| StatusWord::INCORRECT_P1_P2)?;
        let privileges = self.registry.entry(domain).privileges();
        let may_lock = privileges.contains(Privileges::CARD_LOCK);
        let may_terminate = privileges.contains(Privileges::CARD_TERMINATE);
        let is_issuer = domain == EntryId::ISSUER_DOMAIN;
        let allowed = match (self.registry.card_state(), state) {
            (OpReady, Initialized) | (Initialized, Secured) => is_issuer,
            (Secured, CardLocked) => may_lock,
            (CardLocked, Secured) => is_issuer,
            (OpReady | Initialized | Secured | CardLocked, Terminated) => may_terminate,
            (OpReady | Initialized | Secured | CardLocked | Terminated, _) => false,
        };
        if !allowed {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        self.registry_mut().set_card_state(state);
        Ok(())
    }

    // GPC 2.3.1 5.3.1 and 5.3.2: others lock and unlock an application; a security domain is also
    // personalised, by itself or a domain above it.
    fn set_application_status(&mut self, domain: EntryId, id: EntryId, state: u8) -> Result<(), StatusWord> {
        if id == EntryId::ISSUER_DOMAIN {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        let entry = self.registry.entry(id);
        let above = id != domain && self.registry.is_within(id, domain);
        let may_lock = above || self.registry.entry(domain).privileges().contains(Privileges::GLOBAL_LOCK);
        let current = entry.state();
        let personalized = SecurityDomainLifeCycle::Personalized.value();
        let is_domain = matches!(entry.kind, Kind::SecurityDomain(..));
        let selectable = SecurityDomainLifeCycle::Selectable.value();
        let next = match (current & LOCKED != 0, state & LOCKED != 0) {
            (false, true) if may_lock && id != domain => current | LOCKED,
            (true, false) if may_lock && id != domain => current & !LOCKED,
            (false, false) if is_domain && state == personalized && current == selectable => {
                if !above && id != domain {
                    return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
                }
                personalized
            }
            _ => return Err(StatusWord::CONDITIONS_NOT_SATISFIED),
        };
        let entry = self.registry_mut().entry_mut(id);
        if let Some(application) = entry.as_application_mut() {
            application.state = next;
        }
        // Whoever may unlock a domain gives it back its tries.
        if current & LOCKED != 0
            && let Some(data) = entry.as_domain_mut()
        {
            data.failures = 0;
        }
        Ok(())
    }

    // GPC 2.3.1 11.10.2.1: P1 60 locks or unlocks a domain and all applications associated with it.
    fn set_group_status(&mut self, domain: EntryId, aid: &Aid, state: u8) -> Result<(), StatusWord> {
        let id = self.registry.find_domain(aid).ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
        let lock = state & LOCKED;
        let members: Vec<EntryId> = self
            .registry
            .iter()
            .filter(|(other, entry)| {
                entry.as_application().is_some()
                    && self.registry.is_within(*other, id)
                    && entry.state() & LOCKED != lock
            })
            .map(|(id, _)| id)
            .collect();
        if id == EntryId::ISSUER_DOMAIN || members.is_empty() {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        members.into_iter().try_for_each(|member| self.set_application_status(domain, member, lock))
    }

    // Decision D-41: the issuer disables a load file, ROM ones included, and enables it again.
    fn set_load_file_status(&mut self, domain: EntryId, aid: &Aid, state: u8) -> Result<(), StatusWord> {
        if domain != EntryId::ISSUER_DOMAIN {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        let (id, load_file) =
            self.registry.find_load_file(aid).ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
        let usability = if state & LOCKED != 0 { Usability::Disabled } else { Usability::Usable };
        if load_file.usability == usability {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        if let Some(load_file) = self.registry_mut().entry_mut(id).as_load_file_mut() {
            load_file.usability = usability;
        }
        Ok(())
    }

    /// Ends the sessions of domains that are locked now, on all other channels.
    fn close_what_is_locked(&mut self, place: Place) {
        let locked: Vec<Place> = self
            .all_channels()
            .filter(|(other, channel)| {
                *other != place
                    && channel.selected.is_some_and(|id| {
                        id != EntryId::ISSUER_DOMAIN
                            && self.registry.get(id).is_some_and(|entry| entry.state() & LOCKED != 0)
                    })
            })
            .map(|(place, _)| place)
            .collect();
        for other in locked {
            let selected = self.channel(other).selected;
            *self.channel_mut(other) = Channel::selecting(selected);
        }
    }
}
