//! Tickets: the catalogue's word that a wallet may start an operation (B-8.5.2.a, B-8.5.3.a).
//!
//! A ticket is a MAC under a key that this process drew at its start; nothing is stored for it. It names the
//! secure element, the application and the operation, and ends soon. Using one twice is harmless: the
//! operation begins with an observation and finds itself done.

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::SeId;
use tsm_iso7816::Aid;
use zeroize::Zeroizing;

/// What a ticket allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Allows {
    Download,
    Delete,
    Lock,
    Unlock,
}

pub(super) struct Tickets(Zeroizing<[u8; 32]>);

impl Tickets {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// Writes a ticket.
    pub(super) fn issue(&self, se: &SeId, aid: &Aid, allows: Allows, until: Timestamp) -> String {
        let until = until.as_second();
        format!("{until}.{}", hex::encode(self.mac(se, aid, allows, until).finalize().into_bytes()))
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
        let (until, mac) = ticket.split_once('.').ok_or_else(wrong)?;
        let until: i64 = until.parse().map_err(|_| wrong())?;
        let mac = hex::decode(mac).map_err(|_| wrong())?;
        self.mac(se, aid, allows, until).verify_slice(&mac).map_err(|_| wrong())?;
        if until < now.as_second() { Err(ProblemCode::TicketExpired.into()) } else { Ok(()) }
    }

    fn mac(&self, se: &SeId, aid: &Aid, allows: Allows, until: i64) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.0).expect("HMAC takes keys of any length");
        mac.update(format!("{se}|{aid}|{allows:?}|{until}").as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_fits_one_element_application_and_operation_for_a_while() {
        let tickets = Tickets::new([7; 32]);
        let (se, other_se) = (SeId::new(&[1]).unwrap(), SeId::new(&[2]).unwrap());
        let (aid, other_aid) = (Aid::constant(&[0xA0, 1, 2, 3, 4]), Aid::constant(&[0xA0, 1, 2, 3, 5]));
        let now = Timestamp::from_second(1_000).unwrap();
        let ticket = tickets.issue(&se, &aid, Allows::Download, Timestamp::from_second(1_100).unwrap());
        let code = |result: Result<(), Problem>| result.map_err(|problem| problem.code);
        assert_eq!(code(tickets.check(&ticket, &se, &aid, Allows::Download, now)), Ok(()));
        let wrong = Err(ProblemCode::TicketWrong);
        assert_eq!(code(tickets.check(&ticket, &other_se, &aid, Allows::Download, now)), wrong);
        assert_eq!(code(tickets.check(&ticket, &se, &other_aid, Allows::Download, now)), wrong);
        assert_eq!(code(tickets.check(&ticket, &se, &aid, Allows::Delete, now)), wrong);
        assert_eq!(code(Tickets::new([8; 32]).check(&ticket, &se, &aid, Allows::Download, now)), wrong);
        let longer = ticket.replacen("1100", "9100", 1);
        assert_eq!(code(tickets.check(&longer, &se, &aid, Allows::Download, now)), wrong);
        let later = Timestamp::from_second(1_101).unwrap();
        assert_eq!(
            code(tickets.check(&ticket, &se, &aid, Allows::Download, later)),
            Err(ProblemCode::TicketExpired)
        );
        for text in ["", ".", "1100.", "x.00", "1100.zz"] {
            assert_eq!(code(tickets.check(text, &se, &aid, Allows::Download, now)), wrong);
        }
    }
}
