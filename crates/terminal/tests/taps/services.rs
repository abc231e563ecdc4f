//! What either class of terminals can do: load, take payment, serve.

use tsm_epurse::{
    Algorithm, Amount, Date, KeyRole, Tac, TerminalNumber,
    commands::{CreditForLoad, PurchaseKind},
    file::{HistoryType, PublicInformation},
    host::load::{LoadFacts, LoadSession, verify_tac},
};
use tsm_terminal::{
    Receipt, TapError, TerminalClass, service,
    top_up::{LoadHost, LoadRequest, TopUpError, TopUpTerminal},
};

use crate::{
    START_FEN, at, check_tac, fen,
    phone::{Fault, Field, Issue, Phone, card_key},
    pos,
};

/// A host with the card's load and TAC keys.
#[derive(Default)]
struct Host {
    attempts: u8,
    booked: Vec<Amount>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused")]
struct Refused;

impl LoadHost for Host {
    type Error = Refused;

    fn terminal_number(&mut self, _card: &PublicInformation) -> Result<TerminalNumber, Refused> {
        self.attempts += 1;
        Ok(TerminalNumber::new([0x88, 0, 0, 0, 0, self.attempts]))
    }

    fn authorise(&mut self, request: &LoadRequest) -> Result<CreditForLoad, Refused> {
        let key = card_key(Algorithm::TripleDes, KeyRole::Load);
        let session = LoadSession::begin(&key, &request.command, &request.answer).map_err(|_| Refused)?;
        Ok(session.credit(at(10, 0, 0)))
    }

    fn confirm(&mut self, request: &LoadRequest, credit: &CreditForLoad, tac: Tac) -> Result<(), Refused> {
        let facts = LoadFacts {
            balance_after: request.answer.balance.checked_add(request.command.amount).ok_or(Refused)?,
            counter_before: request.answer.counter,
            amount: request.command.amount,
            terminal: request.command.terminal,
            at: credit.at,
        };
        if !verify_tac(&card_key(Algorithm::TripleDes, KeyRole::Tac), &facts, tac) {
            return Err(Refused);
        }
        self.booked.push(request.command.amount);
        Ok(())
    }
}

fn today() -> Date {
    at(0, 0, 0).date
}

/// req: B-3.7.a
#[test]
fn both_classes_load_take_payment_and_serve() {
    for class in [TerminalClass::A, TerminalClass::B] {
        let mut phone = Phone::new();
        let mut top_up = TopUpTerminal::new(class, Host::default());
        let balance = top_up.load(&mut Field::of(&mut phone, None), fen(10_000), today()).unwrap();
        assert_eq!((top_up.class(), balance), (class, fen(START_FEN + 10_000)));
        assert_eq!(top_up.host().booked, [fen(10_000)]);

        let mut pos = pos(class, 0x21);
        let simple = pos.sell(&mut Field::of(&mut phone, None), PurchaseKind::Simple, fen(250), at(11, 0, 0));
        let Ok(Receipt::Paid(record)) = simple else {
            panic!("{simple:?}");
        };
        assert_eq!((record.transaction_type, record.balance_fen), (0x06, START_FEN + 9_750));
        check_tac(&record);
        pos.sell(&mut Field::of(&mut phone, None), PurchaseKind::Composite, fen(50), at(11, 5, 0)).unwrap();
        assert_eq!((pos.terminal().class(), pos.terminal().state().records().len()), (class, 2));

        let summary = service::read_card(&mut Field::of(&mut phone, None)).unwrap();
        assert_eq!(summary.balance, fen(START_FEN + 9_700));
        assert_eq!(
            summary.log.iter().map(|record| record.amount.fen()).collect::<Vec<_>>(),
            [50, 250, 10_000]
        );
        let [single] = summary.history.as_slice() else {
            panic!("only the composite purchase leaves a record");
        };
        assert_eq!((single.history_type, single.amount), (HistoryType::Single, fen(50)));
    }
}

#[test]
fn a_load_says_where_it_stopped() {
    let whole = Phone::new();
    for (exchange, fault) in
        (0..4).flat_map(|exchange| [(exchange, Fault::CommandLost), (exchange, Fault::AnswerLost)])
    {
        let mut phone = whole.copy();
        let mut top_up = TopUpTerminal::new(TerminalClass::A, Host::default());
        let mut field = Field::of(&mut phone, Some((exchange, fault)));
        let result = top_up.load(&mut field, fen(1_000), today());
        let credited = phone.balance() == START_FEN + 1_000;
        match result {
            Err(TopUpError::Tap(TapError::Exchange(_))) => assert!(exchange < 3 && !credited),
            Err(TopUpError::OutcomeUnknown(_)) => {
                assert_eq!((exchange, credited), (3, fault == Fault::AnswerLost))
            }
            other => panic!("{exchange} {fault:?}: {other:?}"),
        }
        assert!(top_up.host().booked.is_empty());
    }
}

#[test]
fn the_host_refuses_a_wrong_mac1() {
    let mut phone = Phone::with(&[Issue { wrong: 0x55, ..Issue::default() }]);
    let mut top_up = TopUpTerminal::new(TerminalClass::B, Host::default());
    let result = top_up.load(&mut Field::of(&mut phone, None), fen(1_000), today());
    assert!(matches!(result, Err(TopUpError::NotAuthorised(Refused))), "{result:?}");
    assert_eq!(phone.balance(), START_FEN);
}
