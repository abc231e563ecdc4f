//! MANAGE CHANNEL: opens and closes supplementary channels (GPC 2.3.1, 11.7).

use tsm_globalplatform::commands::ManageChannel;
use tsm_globalplatform::life_cycle::CardLifeCycle;
use tsm_iso7816::{CommandApdu, LogicalChannel, ResponseApdu, StatusWord};

use super::Open;
use super::channels::{Channel, Place};
use super::registry::{EntryId, Kind};
use crate::applet::Answer;

impl Open {
    pub(super) fn manage_channel(&mut self, place: Place, command: &CommandApdu) -> Answer {
        if command.cla != 0 {
            return Err(StatusWord::CLASS_NOT_SUPPORTED);
        }
        match ManageChannel::try_from(command).map_err(|error| error.status_word())? {
            ManageChannel::OpenAny => {
                let free = self.channels(place.interface).first_free();
                let channel = free.ok_or(StatusWord::FUNCTION_NOT_SUPPORTED)?;
                self.open_channel(place, channel)?;
                Ok(ResponseApdu::success([channel.number()]))
            }
            ManageChannel::Open(channel) => {
                if self.channels(place.interface).get(channel).is_some() {
                    return Err(StatusWord::INCORRECT_P1_P2);
                }
                self.open_channel(place, channel)?;
                Ok(ResponseApdu::success([]))
            }
            ManageChannel::Close(channel) => self.close_channel(Place { channel, ..place }),
        }
    }

    fn open_channel(&mut self, from: Place, channel: LogicalChannel) -> Result<(), StatusWord> {
        if self.registry.card_state() == CardLifeCycle::Terminated {
            return Err(StatusWord::FUNCTION_NOT_SUPPORTED);
        }
        // GPC 2.3.1 6.4.2.1: a channel opened from the basic one selects its default application,
        // one opened from another channel the application there.
        let selected = if from.channel == LogicalChannel::BASIC {
            self.default_application(from.interface, channel)
        } else {
            self.channel(from).selected
        };
        let selected = selected.filter(|id| self.may_share(*id, from));
        self.channels_mut(from.interface).set(channel, Channel::selecting(selected));
        Ok(())
    }

    fn may_share(&mut self, id: EntryId, place: Place) -> bool {
        match self.registry.get(id).map(|entry| &entry.kind) {
            Some(Kind::SecurityDomain(..)) => true,
            Some(Kind::Application(_)) => {
                self.with_applet(id, place, |applet, _| applet.is_multi_selectable())
            }
            Some(Kind::LoadFile(_)) | None => false,
        }
    }

    fn close_channel(&mut self, place: Place) -> Answer {
        if place.channel == LogicalChannel::BASIC {
            return Err(StatusWord::FUNCTION_NOT_SUPPORTED);
        }
        if self.channels(place.interface).get(place.channel).is_none() {
            return Err(StatusWord(0x6200));
        }
        self.leave_selection(place);
        self.channels_mut(place.interface).close(place.channel);
        self.drop_idle_applets();
        Ok(ResponseApdu::success([]))
    }
}
