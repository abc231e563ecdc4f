//! GET RESPONSE: what is left of an answer that a short response does not hold
//! (ISO/IEC 7816-4, 11.7.1 and 5.3.4).
//!
//! Answers go out whole wherever they fit, and with an extended length field they always do. An
//! answer of more than 256 bytes to a short command comes in parts, each announced by 61xx.

use tsm_iso7816::channel::Class;
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord};

use super::Open;
use super::channels::Place;
use crate::card::Interface;

const GET_RESPONSE: u8 = 0xC0;
/// The most data of a short response.
const SHORT_RESPONSE: usize = 256;

impl Open {
    /// The next part, if this is a GET RESPONSE on a channel that has one. Any other command drops
    /// what was left.
    pub(super) fn continue_response(
        &mut self,
        interface: Interface,
        command: &CommandApdu,
    ) -> Option<ResponseApdu> {
        let class = Class::parse(command.cla).ok()?;
        let place = Place { interface, channel: class.channel };
        let rest = self.channels_mut(interface).get_mut(place.channel)?.rest.take()?;
        let fetches = command.ins == GET_RESPONSE && command.p1 == 0 && command.p2 == 0;
        fetches.then(|| self.fit_response(place, command, *rest))
    }

    /// Cuts an answer to what the command's form holds, and keeps the rest for GET RESPONSE.
    pub(super) fn fit_response(
        &mut self,
        place: Place,
        command: &CommandApdu,
        mut response: ResponseApdu,
    ) -> ResponseApdu {
        let extended = command.needs_extended();
        if extended || response.data.len() <= SHORT_RESPONSE {
            return response;
        }
        let Some(channel) = self.channels_mut(place.interface).get_mut(place.channel) else {
            return response;
        };
        let left = response.data.split_off(SHORT_RESPONSE);
        // 61xx: how many bytes wait; 00 stands for 256 and more.
        let waiting = u8::try_from(left.len()).unwrap_or(0);
        channel.rest = Some(Box::new(ResponseApdu::new(left, response.status)));
        ResponseApdu::new(response.data, StatusWord(0x6100 | u16::from(waiting)))
    }
}
