//! Who serves a command: OPEN itself, a security domain, or an application
//! (GPC 2.3.1, 6.1.1 and 11.1.4; ISO/IEC 7816-4, 5.4.1).

use tsm_globalplatform::life_cycle::CardLifeCycle;
use tsm_globalplatform::privileges::Privileges;
use tsm_iso7816::channel::Class;
use tsm_iso7816::{CommandApdu, LogicalChannel, StatusWord};

use super::Open;
use super::channels::Place;
use super::registry::{EntryId, Kind, LOCKED};
use crate::applet::Answer;
use crate::card::Interface;

const SELECT: u8 = 0xA4;
const SELECT_BY_NAME: u8 = 0x04;
const MANAGE_CHANNEL: u8 = 0x70;

impl Open {
    /// Serves a command up to, but not including, making its changes durable.
    pub(super) fn dispatch(&mut self, interface: Interface, command: &CommandApdu) -> Answer {
        let class = Class::parse(command.cla).map_err(|_| StatusWord::CLASS_NOT_SUPPORTED)?;
        let place = Place { interface, channel: class.channel };
        if self.channels(interface).get(place.channel).is_none() {
            return Err(StatusWord::LOGICAL_CHANNEL_NOT_SUPPORTED);
        }
        // On the basic channel's class from here on, so that nobody behind sees channel bits.
        let command = &CommandApdu {
            cla: Class { channel: LogicalChannel::BASIC, ..class }.to_byte(),
            ..command.clone()
        };
        if !class.proprietary && command.ins == SELECT && command.p1 == SELECT_BY_NAME {
            return self.select(place, command);
        }
        if !class.proprietary && command.ins == MANAGE_CHANNEL {
            return self.manage_channel(place, command);
        }
        self.forward(place, command)
    }

    /// Gives a command to the application selected on its channel.
    fn forward(&mut self, place: Place, command: &CommandApdu) -> Answer {
        let selected = self.channel(place).selected.filter(|id| self.registry.get(*id).is_some());
        let id = selected.ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)?;
        self.require_serving(id, command)?;
        match self.registry.entry(id).kind {
            Kind::SecurityDomain(..) => self.serve_domain(id, place, command),
            Kind::Application(_) => {
                self.with_applet(id, place, |applet, context| applet.process(context, command))
            }
            Kind::LoadFile(_) => Err(StatusWord::CONDITIONS_NOT_SATISFIED),
        }
    }

    /// Whether an application may serve a command in the state that it and its card are in.
    // GPC 2.3.1 5.1.1.4, 5.1.1.5 and 5.3.1.3.
    fn require_serving(&self, id: EntryId, command: &CommandApdu) -> Result<(), StatusWord> {
        const GET_DATA: u8 = 0xCA;
        let is_final = self.registry.entry(id).privileges().contains(Privileges::FINAL_APPLICATION);
        match self.registry.card_state() {
            CardLifeCycle::Terminated if id == EntryId::ISSUER_DOMAIN && command.ins != GET_DATA => {
                return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
            }
            CardLifeCycle::Terminated | CardLifeCycle::CardLocked
                if !is_final && id != EntryId::ISSUER_DOMAIN =>
            {
                return Err(StatusWord::FUNCTION_NOT_SUPPORTED);
            }
            CardLifeCycle::OpReady
            | CardLifeCycle::Initialized
            | CardLifeCycle::Secured
            | CardLifeCycle::CardLocked
            | CardLifeCycle::Terminated => {}
        }
        let locked = id != EntryId::ISSUER_DOMAIN && self.registry.entry(id).state() & LOCKED != 0;
        if locked { Err(StatusWord::CONDITIONS_NOT_SATISFIED) } else { Ok(()) }
    }
}
