//! SELECT by name (GPC 2.3.1, 6.4 and 11.9; ISO/IEC 7816-4, 11.2.2).

use tsm_globalplatform::life_cycle::CardLifeCycle;
use tsm_globalplatform::privileges::Privileges;
use tsm_iso7816::{Aid, CommandApdu, LogicalChannel, ResponseApdu, StatusWord, tlv};

use super::Open;
use super::channels::{Channel, Place};
use super::registry::{Entry, EntryId, Kind};
use crate::applet::Answer;
use crate::card::Interface;

/// Which of the applications that match.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occurrence {
    First,
    Next,
}

/// P2 bits 4-3: no file control information wanted.
const NO_RESPONSE_DATA: u8 = 0x0C;

impl Open {
    pub(super) fn select(&mut self, place: Place, command: &CommandApdu) -> Answer {
        let occurrence = match command.p2 & !NO_RESPONSE_DATA {
            0x00 => Occurrence::First,
            0x02 => Occurrence::Next,
            _ => return Err(StatusWord::INCORRECT_P1_P2),
        };
        if command.cla & 0x0C != 0 {
            return Err(StatusWord::SECURE_MESSAGING_NOT_SUPPORTED);
        }
        if command.data.len() > 16 {
            return Err(StatusWord::WRONG_LENGTH);
        }
        let id = self.find_selectable(place, &command.data, occurrence)?;
        self.require_free_to_select(id, place)?;
        self.leave_selection(place);
        self.channel_mut(place).selected = Some(id);
        let answer = match self.registry.entry(id).kind {
            Kind::SecurityDomain(..) => Ok(self.domain_control_information(id)),
            Kind::Application(_) => self.with_applet(id, place, |applet, context| applet.select(context)),
            Kind::LoadFile(_) => Err(StatusWord::NOT_FOUND),
        };
        let selected =
            answer.as_ref().is_ok_and(|answer| answer.status.is_success() || answer.status.is_warning());
        if !selected {
            *self.channel_mut(place) = Channel::selecting(None);
        }
        let mut answer = answer?;
        self.drop_idle_applets();
        if command.p2 & NO_RESPONSE_DATA == NO_RESPONSE_DATA {
            answer.data.clear();
        }
        Ok(answer)
    }

    /// The application that a name, full or partial, means on this channel now.
    fn find_selectable(
        &self,
        place: Place,
        name: &[u8],
        occurrence: Occurrence,
    ) -> Result<EntryId, StatusWord> {
        let not_found = match self.registry.card_state() {
            CardLifeCycle::CardLocked | CardLifeCycle::Terminated => StatusWord::FUNCTION_NOT_SUPPORTED,
            CardLifeCycle::OpReady | CardLifeCycle::Initialized | CardLifeCycle::Secured => {
                StatusWord::NOT_FOUND
            }
        };
        if name.is_empty() && occurrence == Occurrence::First {
            return if self.may_select(EntryId::ISSUER_DOMAIN) {
                Ok(EntryId::ISSUER_DOMAIN)
            } else {
                Err(not_found)
            };
        }
        if let (Occurrence::First, Ok(aid)) = (occurrence, Aid::new(name)) {
            // A full name goes before longer names that begin so.
            if let Some((id, _)) = self.registry.find(&aid).filter(|(id, _)| self.may_select(*id)) {
                return Ok(id);
            }
        }
        let after = match occurrence {
            Occurrence::First => None,
            Occurrence::Next => self.channel(place).selected,
        };
        let mut matching = self.registry.iter().filter(|(id, entry)| {
            after.is_none_or(|after| *id > after) && entry.aid.starts_with(name) && self.may_select(*id)
        });
        matching.next().map(|(id, _)| id).ok_or(not_found)
    }

    // GPC 2.3.1 6.4.1.2: applications in state INSTALLED or LOCKED are not found; on a locked or
    // terminated card only the final application is (the issuer's domain while locked).
    fn may_select(&self, id: EntryId) -> bool {
        let entry = self.registry.entry(id);
        let is_final = entry.privileges().contains(Privileges::FINAL_APPLICATION);
        match self.registry.card_state() {
            CardLifeCycle::Terminated => is_final && entry.is_selectable(),
            CardLifeCycle::CardLocked => id == EntryId::ISSUER_DOMAIN || is_final && entry.is_selectable(),
            CardLifeCycle::OpReady | CardLifeCycle::Initialized | CardLifeCycle::Secured => {
                entry.is_selectable()
            }
        }
    }

    /// Refuses an application that stands alone and is selected on another channel already.
    fn require_free_to_select(&mut self, id: EntryId, place: Place) -> Result<(), StatusWord> {
        let elsewhere =
            self.all_channels().any(|(other, channel)| other != place && channel.selected == Some(id));
        let shared = !elsewhere
            || matches!(self.registry.entry(id).kind, Kind::SecurityDomain(..))
            || self.with_applet(id, place, |applet, _| applet.is_multi_selectable());
        if shared { Ok(()) } else { Err(StatusWord::CONDITIONS_NOT_SATISFIED) }
    }

    /// Ends what the channel's selection had: its session, its volatile state, its loading.
    pub(super) fn leave_selection(&mut self, place: Place) {
        let left = self.channel(place).selected.filter(|id| self.is_application(*id));
        if let Some(id) = left {
            self.with_applet(id, place, |applet, context| applet.deselect(context));
        }
        *self.channel_mut(place) = Channel::selecting(None);
    }

    fn is_application(&self, id: EntryId) -> bool {
        self.registry.get(id).is_some_and(|entry| matches!(entry.kind, Kind::Application(_)))
    }

    /// The application selected on a channel without SELECT: the one that asked to be, else the
    /// issuer security domain.
    // GPC 2.3.1 6.4.1.1 and table 11-50: CF is 80 contactless, 40 contact, and the channel number.
    pub(super) fn default_application(
        &self,
        interface: Interface,
        channel: LogicalChannel,
    ) -> Option<EntryId> {
        let interface_bit = match interface {
            Interface::Contact => 0x40,
            Interface::Contactless => 0x80,
        };
        let asks = |entry: &Entry| {
            entry.as_application().is_some_and(|application| {
                application
                    .implicit_selection
                    .iter()
                    .any(|byte| byte & interface_bit != 0 && byte & 0x1F == channel.number())
            })
        };
        let chosen = self.registry.iter().find(|(id, entry)| asks(entry) && self.may_select(*id));
        Some(chosen.map_or(EntryId::ISSUER_DOMAIN, |(id, _)| id))
    }

    /// The file control information of a security domain.
    // GPC 2.3.1 11.9.3.1: 6F {84 AID, A5 {9F65 the most data bytes of a command}}.
    fn domain_control_information(&self, id: EntryId) -> ResponseApdu {
        let mut value = tlv::encode(0x84, self.registry.entry(id).aid.as_bytes());
        tlv::write(&mut value, 0xA5, &tlv::encode(0x9F65, &[0xFF]));
        let locked = self.registry.card_state() == CardLifeCycle::CardLocked;
        let status = if locked { StatusWord::SELECTED_FILE_INVALIDATED } else { StatusWord::SUCCESS };
        ResponseApdu::new(tlv::encode(0x6F, &value), status)
    }
}
