//! A channel to a card that this process reaches itself: in process, or through a reader.

use tsm_iso7816::{CommandApdu, LogicalChannel, ResponseApdu, StatusWord};

use crate::channel::{CardChannel, ChannelError};
use crate::step::Step;

/// The card, or the way to it, went away. What it did with the command is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the card or its reader went away")]
pub struct CardGone;

/// Sends one command and waits for its response.
pub trait Transmit: Send {
    /// Sends `command` and gives the response, as bytes.
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, CardGone>;
}

impl<F: FnMut(&[u8]) -> Result<Vec<u8>, CardGone> + Send> Transmit for F {
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, CardGone> {
        self(command)
    }
}

/// A channel over [`Transmit`], on one logical channel.
///
/// It asks for the rest of a response with GET RESPONSE after 61xx, and repeats with the right Le after
/// 6Cxx, as cards with the protocol T=0 need.
#[derive(Debug)]
pub struct DirectChannel<T> {
    card: T,
    logical_channel: LogicalChannel,
}

impl<T: Transmit> DirectChannel<T> {
    /// On the basic logical channel.
    pub const fn new(card: T) -> Self {
        Self::on(card, LogicalChannel::BASIC)
    }

    /// On a logical channel that is open already.
    pub const fn on(card: T, logical_channel: LogicalChannel) -> Self {
        Self { card, logical_channel }
    }

    /// The card.
    pub fn into_inner(self) -> T {
        self.card
    }

    fn send(&mut self, mut command: CommandApdu) -> Result<ResponseApdu, ChannelError> {
        command.cla = self
            .logical_channel
            .apply(command.cla)
            .map_err(|error| ChannelError::BadAnswer(error.to_string()))?;
        let mut response = self.send_once(&command)?;
        if response.status.sw1() == 0x6C {
            command.ne = Some(expected_length(response.status));
            response = self.send_once(&command)?;
        }
        // A response of an extended command has at most 65,536 bytes; GET RESPONSE ends there.
        while response.status.sw1() == 0x61 && response.data.len() < 65_536 {
            let get_response =
                CommandApdu::new(command.cla & 0x03, 0xC0, 0, 0).with_ne(expected_length(response.status));
            let rest = self.send_once(&get_response)?;
            if rest.data.is_empty() && rest.status.sw1() == 0x61 {
                return Err(ChannelError::BadAnswer("the card promises a rest and gives none".to_owned()));
            }
            response.data.extend(rest.data);
            response.status = rest.status;
        }
        Ok(response)
    }

    fn send_once(&mut self, command: &CommandApdu) -> Result<ResponseApdu, ChannelError> {
        let bytes = command.to_bytes().map_err(|error| ChannelError::BadAnswer(error.to_string()))?;
        let answer = self.card.transmit(&bytes).map_err(|CardGone| ChannelError::OutcomeUnknown)?;
        ResponseApdu::parse(&answer).map_err(|error| ChannelError::BadAnswer(error.to_string()))
    }
}

impl<T: Transmit> CardChannel for DirectChannel<T> {
    async fn exchange(&mut self, steps: Vec<Step>) -> Result<Vec<ResponseApdu>, ChannelError> {
        let mut responses = Vec::with_capacity(steps.len());
        for step in steps {
            let response = self.send(step.to_apdu())?;
            let goes_on = step.expected().accepts(response.status);
            responses.push(response);
            if !goes_on {
                break;
            }
        }
        Ok(responses)
    }
}

fn expected_length(status: StatusWord) -> u32 {
    match status.sw2() {
        0 => 256,
        length => u32::from(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block_on;

    fn scripted(pairs: &'static [(&'static str, &'static str)]) -> impl Transmit {
        let mut pairs = pairs.iter();
        move |command: &[u8]| {
            let (expected, answer) = pairs.next().ok_or(CardGone)?;
            assert_eq!(hex::encode_upper(command), *expected);
            Ok(hex::decode(answer).unwrap())
        }
    }

    #[test]
    fn fetches_the_rest_and_repeats_with_the_right_length() {
        let card = scripted(&[
            ("80CA004400", "6C03"),
            ("80CA004403", "0102039000"),
            ("80CA006600", "0A6102"),
            ("00C0000002", "0B0C9000"),
        ]);
        let get = |p2| Step::transmit(CommandApdu::new(0x80, 0xCA, 0, p2).with_any_response());
        let responses = block_on(DirectChannel::new(card).exchange(vec![get(0x44), get(0x66)])).unwrap();
        assert_eq!(responses, [ResponseApdu::success([1, 2, 3]), ResponseApdu::success([10, 11, 12])]);
    }

    #[test]
    fn stops_at_the_first_unexpected_status_word() {
        let card = scripted(&[("00A4040005A00000000100", "9000"), ("80E40000", "6A88")]);
        let steps = vec![
            Step::select("A000000001".parse().unwrap()),
            Step::transmit(CommandApdu::new(0x80, 0xE4, 0, 0)),
            Step::transmit(CommandApdu::new(0x80, 0xF2, 0x40, 0)),
        ];
        let responses = block_on(DirectChannel::new(card).exchange(steps)).unwrap();
        assert_eq!(responses.len(), 2);
        assert_eq!(responses[1].status, StatusWord::REFERENCED_DATA_NOT_FOUND);
    }

    #[test]
    fn a_card_that_goes_away_leaves_an_unknown_outcome() {
        let card = scripted(&[]);
        let steps = vec![Step::transmit(CommandApdu::new(0x80, 0xE4, 0, 0))];
        let outcome = block_on(DirectChannel::new(card).exchange(steps));
        assert_eq!(outcome, Err(ChannelError::OutcomeUnknown));
    }

    #[test]
    fn sets_the_channel_number_in_every_class() {
        let card = scripted(&[("82CA004400", "9000")]);
        let mut channel = DirectChannel::on(card, LogicalChannel::new(2).unwrap());
        let steps = vec![Step::transmit(CommandApdu::new(0x80, 0xCA, 0, 0x44).with_any_response())];
        assert_eq!(block_on(channel.exchange(steps)).unwrap().len(), 1);
    }
}
