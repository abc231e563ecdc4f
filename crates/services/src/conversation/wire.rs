//! Steps and responses between the card crate's types and the wire.

use tsm_api::HexBytes;
use tsm_api::conversation::{StatusPattern, Step as WireStep};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_card::step::Step;
use tsm_iso7816::ResponseApdu;

/// The longest list of responses that is read.
const MAX_RESPONSES: usize = 2048;

/// Writes steps for the wire.
pub fn steps_to_wire(steps: &[Step]) -> Vec<WireStep> {
    steps.iter().map(step_to_wire).collect()
}

fn step_to_wire(step: &Step) -> WireStep {
    let expected = step.expected().words().iter().map(|status| StatusPattern::exactly(*status)).collect();
    match step {
        Step::Select { aid, .. } => WireStep::Select { aid: (*aid).into(), expected },
        Step::Transmit { apdu, .. } => {
            let apdu = apdu.to_bytes().expect("procedures build commands that fit the extended form");
            WireStep::Transmit { apdu: HexBytes(apdu), expected }
        }
    }
}

/// Reads responses off the wire.
pub fn responses_from_wire(responses: &[HexBytes]) -> Result<Vec<ResponseApdu>, Problem> {
    if responses.len() > MAX_RESPONSES {
        return Err(Problem::because(ProblemCode::MalformedRequest, "The list of responses is too long."));
    }
    responses
        .iter()
        .map(|bytes| ResponseApdu::parse(bytes.as_bytes()))
        .collect::<Result<_, _>>()
        .map_err(|error| Problem::because(ProblemCode::MalformedRequest, error))
}
