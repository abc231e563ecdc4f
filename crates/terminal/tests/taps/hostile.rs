//! Cards that are not what they say.

use tsm_epurse::commands::PurchaseKind;
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord};
use tsm_terminal::{CardReader, Passage, ReaderError, Refusal, TapError, TerminalClass, record::WrongKey};

use crate::{
    START_FEN, at, fen, gate,
    phone::{Field, Issue, Phone, serial},
    pos,
};

pub(crate) fn refused<T: core::fmt::Debug>(result: Result<T, TapError>) -> Refusal {
    match result {
        Err(TapError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// A card personalised with a wrong key does not pass, and the gate records it.
#[test]
fn a_card_with_a_wrong_key_fails_at_the_gate() {
    let mut phone = Phone::with(&[Issue { wrong: 0x55, ..Issue::default() }]);
    let mut gate = gate(1, 0x11);
    let refusal = refused(gate.enter(&mut Field::of(&mut phone, None), at(8, 0, 0)));
    assert_eq!(refusal, Refusal::NotGenuine(WrongKey::Mac1));
    let state = gate.terminal().state();
    assert_eq!((state.refusals()[0].refusal, state.refusals()[0].card), (refusal, Some(serial())));
    assert!(state.records().is_empty() && state.pending().is_empty());
    assert_eq!(phone.balance(), START_FEN);
}

/// A card that takes any MAC1 and makes its answer up.
struct Impostor<'a>(Field<'a>);

impl CardReader for Impostor<'_> {
    fn transmit(&mut self, command: &CommandApdu) -> Result<ResponseApdu, ReaderError> {
        match command.ins {
            0x54 => Ok(ResponseApdu::success([0xAB; 8])),
            _ => self.0.transmit(command),
        }
    }
}

#[test]
fn an_impostor_fails_at_the_gate() {
    let mut phone = Phone::new();
    let mut gate = gate(1, 0x11);
    for _ in 0..5 {
        let refusal = refused(gate.enter(&mut Impostor(Field::of(&mut phone, None)), at(8, 0, 0)));
        assert_eq!(refusal, Refusal::NotGenuine(WrongKey::Mac2));
    }
    assert!(gate.terminal().state().records().is_empty());
    assert_eq!(gate.terminal().state().psam.wrong_mac2, 5);
    // After its limit of wrong MAC2s in a row the PSAM makes no MAC1 any more.
    let blocked = gate.enter(&mut Field::of(&mut phone, None), at(8, 1, 0));
    let Err(TapError::Psam { status, .. }) = blocked else {
        panic!("{blocked:?}");
    };
    assert_eq!(status, StatusWord::AUTHENTICATION_METHOD_BLOCKED);
}

/// A made-up proof of a torn debit is no proof; the record goes to the centre without one.
#[test]
fn a_forged_proof_does_not_open_the_gate() {
    struct Forger<'a>(Field<'a>);
    impl CardReader for Forger<'_> {
        fn transmit(&mut self, command: &CommandApdu) -> Result<ResponseApdu, ReaderError> {
            let answer = self.0.transmit(command)?;
            // GET TRANSACTION PROOF: a made-up MAC2.
            if command.ins == 0x5A {
                return Ok(ResponseApdu::success([0xCD; 8]));
            }
            Ok(answer)
        }
    }
    let mut phone = Phone::new();
    let mut shop = pos(TerminalClass::A, 0x31);
    let torn = Some((3, crate::phone::Fault::AnswerLost));
    let kind = PurchaseKind::Simple;
    let lost = shop.sell(&mut Field::of(&mut phone, torn), kind, fen(200), at(9, 0, 0));
    assert!(matches!(lost, Err(TapError::Torn(_))), "{lost:?}");
    let refusal = refused(shop.sell(&mut Forger(Field::of(&mut phone, None)), kind, fen(200), at(9, 0, 5)));
    assert_eq!(refusal, Refusal::NotGenuine(WrongKey::Mac2));
    let [record] = shop.terminal().state().records() else {
        panic!("one record");
    };
    assert_eq!((record.proof, record.tac), (tsm_terminal::RecordProof::Unknown, None));
}

/// Whatever bytes a card answers with, a gate neither panics nor opens.
#[test]
fn nonsense_opens_nothing() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut rest = bytes;
        let mut reader = |_: &CommandApdu| {
            let length = rest.first().map_or(2, |first| usize::from(*first).max(2)).min(rest.len());
            let (answer, left) = rest.split_at(length);
            rest = left;
            ResponseApdu::parse(answer).map_err(|_| ReaderError::NotAResponse)
        };
        assert!(gate(1, 0x11).enter(&mut reader, at(8, 0, 0)).is_err());
        assert!(gate(1, 0x11).leave(&mut reader, at(8, 0, 0)).is_err());
    });
}

/// Any one answer of a genuine card replaced by nonsense: the gate stays closed, or the card has truly booked.
#[test]
fn one_wrong_answer_opens_nothing() {
    let phone = Phone::new();
    for (exchange, nonsense) in (0..9).flat_map(|exchange| (0..4).map(move |nonsense| (exchange, nonsense))) {
        let mut phone = phone.copy();
        let mut field = Field::of(&mut phone, None);
        let mut count = 0;
        let mut reader = |command: &CommandApdu| {
            let answer = field.transmit(command)?;
            count += 1;
            Ok(if count != exchange + 1 {
                answer
            } else {
                match nonsense {
                    0 => ResponseApdu::success([]),
                    1 => ResponseApdu::success(vec![0xFF; answer.data.len()]),
                    2 => ResponseApdu::success(vec![0x00; 300]),
                    _ => StatusWord(0x6F00).into(),
                }
            })
        };
        let passage = gate(1, 0x11).enter(&mut reader, at(8, 0, 0));
        if let Ok(Passage::Entered { .. }) = passage {
            assert_eq!(phone.log().len(), 1, "exchange {exchange}, nonsense {nonsense}");
        }
    }
}
