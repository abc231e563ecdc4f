//! Tickets: the catalogue's word that a wallet may start an operation (B-8.5.2.a, B-8.5.3.a).
//!
//! A ticket is the time of its end, sealed in the key service under what it allows: secure element,
//! application and operation. Nothing is stored for it, and each process of the role can check it. Using one
//! twice is harmless: the operation begins with an observation and finds itself done.

use jiff::Timestamp;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::SeId;
use tsm_iso7816::Aid;
use tsm_keys::transfer::SealedValue;
use tsm_keys::{KeyError, KeyReference, KeyService};

/// What a ticket allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Allows {
    Download,
    Delete,
    Lock,
    Unlock,
}

pub(super) struct Tickets<'a> {
    pub(super) keys: &'a dyn KeyService,
    pub(super) key: &'a KeyReference,
}

impl Tickets<'_> {
    /// Writes a ticket.
    pub(super) fn issue(
        &self,
        se: &SeId,
        aid: &Aid,
        allows: Allows,
        until: Timestamp,
    ) -> Result<String, KeyError> {
        let until = until.as_second().to_be_bytes();
        self.keys.seal(self.key, &context(se, aid, allows), &until).map(|sealed| hex::encode(sealed.0))
    }

    /// Checks a ticket.
    pub(super) fn check(
        &self,
        ticket: &str,
        se: &SeId,
        aid: &Aid,
        allows: Allows,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let wrong = || Problem::new(ProblemCode::TicketWrong);
        let sealed = SealedValue(hex::decode(ticket).map_err(|_| wrong())?);
        let until = self.keys.unseal(self.key, &context(se, aid, allows), &sealed).map_err(|_| wrong())?;
        let until: [u8; 8] = until.as_slice().try_into().map_err(|_| wrong())?;
        if i64::from_be_bytes(until) < now.as_second() {
            Err(ProblemCode::TicketExpired.into())
        } else {
            Ok(())
        }
    }
}

fn context(se: &SeId, aid: &Aid, allows: Allows) -> Vec<u8> {
    format!("ticket|{se}|{aid}|{allows:?}").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tsm_domain::environment::Entropy;
    use tsm_keys::{KeyAlgorithm, KeyPurpose, SoftwareKeyService};

    use super::*;

    struct Sevens;

    impl Entropy for Sevens {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    #[test]
    fn a_ticket_fits_one_element_application_and_operation_for_a_while() {
        let keys = SoftwareKeyService::in_memory(Arc::new(Sevens));
        let key = KeyReference::new(KeyPurpose::Sealing, "operator", "sealing", 1).unwrap();
        keys.generate(&key, KeyAlgorithm::Aes256).unwrap();
        let tickets = Tickets { keys: &keys, key: &key };
        let (se, other_se) = (SeId::new(&[1]).unwrap(), SeId::new(&[2]).unwrap());
        let (aid, other_aid) = (Aid::constant(&[0xA0, 1, 2, 3, 4]), Aid::constant(&[0xA0, 1, 2, 3, 5]));
        let now = Timestamp::from_second(1_000).unwrap();
        let until = Timestamp::from_second(1_100).unwrap();
        let ticket = tickets.issue(&se, &aid, Allows::Download, until).unwrap();
        let code = |result: Result<(), Problem>| result.map_err(|problem| problem.code);
        assert_eq!(code(tickets.check(&ticket, &se, &aid, Allows::Download, now)), Ok(()));
        let wrong = Err(ProblemCode::TicketWrong);
        assert_eq!(code(tickets.check(&ticket, &other_se, &aid, Allows::Download, now)), wrong);
        assert_eq!(code(tickets.check(&ticket, &se, &other_aid, Allows::Download, now)), wrong);
        assert_eq!(code(tickets.check(&ticket, &se, &aid, Allows::Delete, now)), wrong);
        for place in 0..ticket.len() / 2 {
            let mut other = hex::decode(&ticket).unwrap();
            other[place] ^= 1;
            let other = hex::encode(other);
            assert_eq!(code(tickets.check(&other, &se, &aid, Allows::Download, now)), wrong, "byte {place}");
        }
        let later = Timestamp::from_second(1_101).unwrap();
        let late = code(tickets.check(&ticket, &se, &aid, Allows::Download, later));
        assert_eq!(late, Err(ProblemCode::TicketExpired));
        for text in ["", "00", "1100.zz"] {
            assert_eq!(code(tickets.check(text, &se, &aid, Allows::Download, now)), wrong);
        }
    }
}
