//! The card channel: lists of steps go in, lists of responses come out.

use tsm_iso7816::ResponseApdu;

use crate::step::Step;

/// Why an exchange gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// The channel was gone before anything was sent: the card did nothing.
    #[error("the card is not reachable; nothing was sent")]
    NotSent,
    /// The list was sent and no answer came. What the card did is unknown until it is observed again.
    #[error("the card was lost in the middle of an exchange; what it did is unknown")]
    OutcomeUnknown,
    /// The other side answered with something that is no answer to the list.
    #[error("the answer does not fit the list that was sent: {0}")]
    BadAnswer(String),
}

/// A way to a card. The same procedures run over every implementation.
pub trait CardChannel: Send {
    /// Has the client carry out `steps` in order, stopping at the first status word that a step does
    /// not expect. The responses are as many as steps were carried out; the last one may be unexpected.
    fn exchange(
        &mut self,
        steps: Vec<Step>,
    ) -> impl Future<Output = Result<Vec<ResponseApdu>, ChannelError>> + Send;
}

/// A longest answer list and longest response that any card gives; what is longer was not a card's.
pub(crate) const MAX_RESPONSE: usize = 65_538;

/// Checks that `responses` can be an answer to `steps`: a channel whose other end is not trusted
/// (a phone) calls it before it gives the list to a procedure.
pub fn check_answer(steps: &[Step], responses: &[ResponseApdu]) -> Result<(), ChannelError> {
    let bad = |reason: String| Err(ChannelError::BadAnswer(reason));
    if responses.len() > steps.len() {
        return bad(format!("{} responses to {} steps", responses.len(), steps.len()));
    }
    if let Some(long) = responses.iter().find(|response| response.data.len() + 2 > MAX_RESPONSE) {
        return bad(format!("a response of {} bytes", long.data.len()));
    }
    let stopped_at =
        steps.iter().zip(responses).position(|(step, response)| !step.expected().accepts(response.status));
    match stopped_at {
        Some(index) if index + 1 == responses.len() => Ok(()),
        Some(index) => bad(format!("the client went on after the unexpected status of step {index}")),
        None if responses.len() == steps.len() => Ok(()),
        None => bad(format!(
            "only {} of {} steps were answered, without an unexpected status",
            responses.len(),
            steps.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tsm_iso7816::{CommandApdu, StatusWord};

    #[test]
    fn an_answer_fits_its_list() {
        let step = || Step::transmit(CommandApdu::new(0x80, 0xCA, 0, 0));
        let good = || ResponseApdu::success([]);
        let bad = || ResponseApdu::new([], StatusWord::NOT_ENOUGH_MEMORY);
        let steps = [step(), step()];
        for (responses, fits) in [
            (vec![good(), good()], true),
            (vec![good(), bad()], true),
            (vec![bad()], true),
            (vec![], false),
            (vec![good()], false),
            (vec![bad(), good()], false),
            (vec![good(), good(), good()], false),
            (vec![ResponseApdu::success(vec![0; 70_000]), good()], false),
        ] {
            assert_eq!(check_answer(&steps, &responses).is_ok(), fits, "{responses:?}");
        }
    }
}
