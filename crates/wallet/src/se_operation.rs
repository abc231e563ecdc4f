//! The SE operation module: carries lists of steps to the secure element through the access API and
//! brings the answers back (W-5.d, W-6.6, W-6.7, W-8.2).
//!
//! It is the only module that opens a channel to the secure element. It keeps no APDU.

use async_trait::async_trait;
use tsm_api::HexBytes;
use tsm_api::conversation::{CardFault, StatusPattern, Step};
use tsm_iso7816::{Aid, CommandApdu, LogicalChannel, ResponseApdu, StatusWord};

/// The phone's access API to the secure element, in the shape of the Open Mobile API: applications
/// are selected only by opening a logical channel, and SELECT by name or MANAGE CHANNEL inside
/// `transmit` is refused.
#[async_trait]
pub trait SecureElementAccess: Send {
    /// Opens a logical channel and selects an application on it.
    async fn open_logical_channel(&mut self, aid: &Aid) -> Result<OpenedChannel, AccessError>;

    /// Transmits a command on an open channel; the channel bits of `command` are set by the API.
    async fn transmit(
        &mut self,
        channel: LogicalChannel,
        command: &CommandApdu,
    ) -> Result<ResponseApdu, AccessError>;

    /// Closes a logical channel.
    async fn close_channel(&mut self, channel: LogicalChannel) -> Result<(), AccessError>;
}

/// A channel just opened, with the answer to its SELECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedChannel {
    /// The channel; [`LogicalChannel::BASIC`] stands for one that was not opened because the
    /// selection was refused.
    pub channel: LogicalChannel,
    /// The answer to SELECT.
    pub response: ResponseApdu,
}

/// Why the secure element could not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// No power, no card, or the connection to it is gone.
    #[error("the secure element does not answer; switch NFC on and try again")]
    Lost,
    /// The phone's access rules refuse this wallet.
    #[error("this phone does not let the wallet reach the secure element; install it from the operator")]
    Denied,
    /// The access API refuses the command itself (SELECT by name or MANAGE CHANNEL in a transmit).
    #[error("the access API refuses this command inside a transmit")]
    Forbidden,
}

impl From<AccessError> for CardFault {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Lost => Self::CardLost,
            AccessError::Denied | AccessError::Forbidden => Self::AccessDenied,
        }
    }
}

/// The answers to a list of steps, as the platform wants them back (W-6.6.b).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answers {
    /// One answer a step, in order; the last one is the unexpected one when the list was stopped.
    pub responses: Vec<HexBytes>,
    /// What kept the list from going on, when it was not an answer.
    pub fault: Option<CardFault>,
}

/// Carries out lists of steps over one access to the secure element.
pub struct SeOperation<A> {
    access: A,
    current: Option<LogicalChannel>,
}

impl<A: SecureElementAccess> SeOperation<A> {
    /// Works over `access`.
    pub const fn new(access: A) -> Self {
        Self { access, current: None }
    }

    /// Carries the steps to the card in order. Stops at the first unexpected status word or fault:
    /// what follows it never reaches the card (W-6.6.c).
    pub async fn carry(&mut self, steps: &[Step]) -> Answers {
        let mut answers = Answers::default();
        for step in steps {
            let response = match self.carry_one(step).await {
                Ok(response) => response,
                Err(error) => {
                    answers.fault = Some(error.into());
                    return answers;
                }
            };
            let go_on = is_expected(expected_of(step), response.status);
            answers.responses.push(HexBytes(response.to_bytes()));
            if !go_on {
                return answers;
            }
        }
        answers
    }

    /// Selects an application on a channel of its own and sends it plain commands, for what the
    /// wallet shows without a server: balance and records.
    pub async fn ask(
        &mut self,
        aid: &Aid,
        commands: &[CommandApdu],
    ) -> Result<(ResponseApdu, Vec<ResponseApdu>), AccessError> {
        let selected = self.select(aid).await?;
        let mut responses = Vec::with_capacity(commands.len());
        if selected.status.is_success() || selected.status.is_warning() {
            for command in commands {
                responses.push(self.transmit(command).await?);
            }
        }
        self.release().await;
        Ok((selected, responses))
    }

    /// Closes the channel that the last list left open.
    pub async fn release(&mut self) {
        if let Some(channel) = self.current.take() {
            // A card that is gone has closed its channels already.
            let _ = self.access.close_channel(channel).await;
        }
    }

    async fn carry_one(&mut self, step: &Step) -> Result<ResponseApdu, AccessError> {
        match step {
            Step::Select { aid, .. } => {
                let aid = aid.to_aid().map_err(|_| AccessError::Forbidden)?;
                self.select(&aid).await
            }
            Step::Transmit { apdu, .. } => {
                let command = CommandApdu::parse(apdu.as_bytes()).map_err(|_| AccessError::Forbidden)?;
                self.transmit(&command).await
            }
        }
    }

    async fn select(&mut self, aid: &Aid) -> Result<ResponseApdu, AccessError> {
        self.release().await;
        let opened = self.access.open_logical_channel(aid).await?;
        if opened.channel != LogicalChannel::BASIC {
            self.current = Some(opened.channel);
        }
        Ok(opened.response)
    }

    async fn transmit(&mut self, command: &CommandApdu) -> Result<ResponseApdu, AccessError> {
        if refused_inside_transmit(command) {
            return Err(AccessError::Forbidden);
        }
        let channel = self.current.ok_or(AccessError::Forbidden)?;
        self.access.transmit(channel, command).await
    }
}

/// SELECT by name and MANAGE CHANNEL belong to the API itself.
fn refused_inside_transmit(command: &CommandApdu) -> bool {
    let interindustry = command.cla & 0x80 == 0;
    interindustry && (command.ins == 0x70 || (command.ins == 0xA4 && command.p1 == 0x04))
}

fn expected_of(step: &Step) -> &[StatusPattern] {
    match step {
        Step::Select { expected, .. } | Step::Transmit { expected, .. } => expected,
    }
}

/// A list without patterns goes on after success only.
fn is_expected(expected: &[StatusPattern], status: StatusWord) -> bool {
    if expected.is_empty() {
        status.is_success()
    } else {
        expected.iter().any(|pattern| pattern.fits(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A card that answers from a script and writes down what reached it.
    struct Scripted {
        answers: Vec<Result<ResponseApdu, AccessError>>,
        seen: Vec<Vec<u8>>,
    }

    impl Scripted {
        fn answering(answers: impl IntoIterator<Item = Result<u16, AccessError>>) -> SeOperation<Self> {
            let mut answers: Vec<_> = answers
                .into_iter()
                .map(|answer| answer.map(|sw| ResponseApdu::from(StatusWord(sw))))
                .collect();
            answers.reverse();
            SeOperation::new(Self { answers, seen: Vec::new() })
        }

        fn next(&mut self, command: Vec<u8>) -> Result<ResponseApdu, AccessError> {
            self.seen.push(command);
            self.answers.pop().expect("the script is long enough")
        }
    }

    #[async_trait]
    impl SecureElementAccess for Scripted {
        async fn open_logical_channel(&mut self, aid: &Aid) -> Result<OpenedChannel, AccessError> {
            let response = self.next(aid.as_bytes().to_vec())?;
            let channel = LogicalChannel::new(1).expect("1 is a channel");
            Ok(OpenedChannel { channel, response })
        }

        async fn transmit(
            &mut self,
            _: LogicalChannel,
            command: &CommandApdu,
        ) -> Result<ResponseApdu, AccessError> {
            self.next(command.to_bytes().expect("the command can be written"))
        }

        async fn close_channel(&mut self, _: LogicalChannel) -> Result<(), AccessError> {
            Ok(())
        }
    }

    fn steps(count: u8) -> Vec<Step> {
        let select = Step::Select { aid: vec![0xA0; 5].into(), expected: vec![StatusPattern::SUCCESS] };
        let transmit = |index| Step::Transmit {
            apdu: vec![0x80, 0xE8, 0, index].into(),
            expected: vec![StatusPattern::SUCCESS],
        };
        std::iter::once(select).chain((0..count).map(transmit)).collect()
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        futures_util::FutureExt::now_or_never(future).expect("a scripted card never waits")
    }

    /// The order on the card is the order of the list, and every answer comes back.
    ///
    /// req: W-6.6.a, W-6.6.b
    #[test]
    fn carries_the_list_in_order() {
        let mut operation = Scripted::answering([Ok(0x9000), Ok(0x9000), Ok(0x9000)]);
        let answers = wait(operation.carry(&steps(2)));
        assert_eq!(answers.responses, vec![HexBytes(vec![0x90, 0]); 3]);
        assert_eq!(answers.fault, None);
        assert_eq!(operation.access.seen, [vec![0xA0; 5], vec![0x80, 0xE8, 0, 0], vec![0x80, 0xE8, 0, 1]]);
    }

    /// With an error at position k the card sees nothing further and k answers go back.
    ///
    /// req: W-6.6.c
    #[test]
    fn stops_at_the_first_unexpected_status_word() {
        for k in 1..=3 {
            let script = (0..k).map(|_| Ok(0x9000)).chain([Ok(0x6A80)]);
            let mut operation = Scripted::answering(script);
            let answers = wait(operation.carry(&steps(5)));
            assert_eq!(answers.responses.len(), k + 1);
            assert_eq!(answers.responses.last(), Some(&HexBytes(vec![0x6A, 0x80])));
            assert_eq!(operation.access.seen.len(), k + 1);
        }
    }

    /// A card that goes away is a fault, not an answer.
    ///
    /// req: W-6.6.c
    #[test]
    fn a_lost_card_is_reported_as_a_fault() {
        let mut operation = Scripted::answering([Ok(0x9000), Err(AccessError::Lost)]);
        let answers = wait(operation.carry(&steps(5)));
        assert_eq!(answers.responses.len(), 1);
        assert_eq!(answers.fault, Some(CardFault::CardLost));
    }

    /// Nothing reaches the card past the access API's own rules.
    ///
    /// req: W-6.7.a
    #[test]
    fn select_and_manage_channel_are_no_transmits() {
        for apdu in ["00A4040005A0A0A0A0A0", "0070000001"] {
            let mut operation = Scripted::answering([Ok(0x9000)]);
            let mut list = steps(0);
            list.push(Step::Transmit { apdu: HexBytes(hex::decode(apdu).unwrap()), expected: vec![] });
            assert_eq!(wait(operation.carry(&list)).fault, Some(CardFault::AccessDenied), "{apdu}");
            assert_eq!(operation.access.seen.len(), 1, "only the selection reached the card");
        }
    }
}
