//! Cards that the centre listed: black ones are locked, grey ones refused, an old list as the policy says.

use jiff::Timestamp;
use tsm_api::{
    clearing::lists::{ListContent, ListUpdate, SignedHead, UpdateError, WireListChange},
    pki::SigningIdentity,
    signature::{MessageSigner as _, MessageVerifier, SoftwareSigner},
};
use tsm_domain::{
    CardNumber,
    money::{CardList, ListAction, ListChange, ListKind, ListReason, ListVersion},
};
use tsm_terminal::{
    InMemory, ListInUse, ListPolicy, Passage, Refusal, black_list::WhenOld, record::LockRecord,
    terminal::ListUpdateError, upload,
};

use crate::{
    START_FEN, at, gate,
    hostile::refused,
    phone::{Fault, Field, Phone, serial},
};

pub(crate) struct Centre {
    signer: SoftwareSigner,
    pub(crate) verifier: MessageVerifier,
    changes: Vec<ListChange>,
}

impl Centre {
    pub(crate) fn new() -> Self {
        let signer = SigningIdentity::generate().unwrap().signer().unwrap();
        let verifier = MessageVerifier::from_point(signer.public_key().as_bytes()).unwrap();
        Self { signer, verifier, changes: Vec::new() }
    }

    /// One more change, and the update from version `since`.
    pub(crate) fn list(&mut self, card: CardNumber, action: ListAction, since: u64) -> ListUpdate {
        let version = ListVersion(self.changes.len() as u64 + 1);
        self.changes.push(ListChange { version, card, action });
        let list = CardList::default().after(self.changes.iter().copied()).unwrap();
        let at: Timestamp = "2026-03-13T16:00:00Z".parse().unwrap();
        let digest = list.digest().0;
        let signature = self.signer.sign(&SignedHead::signed_bytes(version.0, &digest, at));
        let head = SignedHead {
            version: version.0,
            digest: digest.to_vec().into(),
            at,
            signature: signature.to_vec().into(),
        };
        let changes = self.changes[since as usize..].iter().copied().map(WireListChange::from).collect();
        ListUpdate { head, content: ListContent::Changes(changes) }
    }
}

fn number() -> CardNumber {
    CardNumber::from_application_serial(&serial().0).unwrap()
}

const BLACK: ListAction = ListAction::Put(ListKind::Black, ListReason::Lost);
const GREY: ListAction = ListAction::Put(ListKind::Grey, ListReason::Frozen);

/// A black-listed card is locked through the PSAM, stays locked everywhere, and the lock goes to the centre as
/// a record of type 0A.
#[test]
fn a_black_listed_card_is_locked() {
    let mut phone = Phone::new();
    let mut centre = Centre::new();
    let mut first = gate(1, 0x11);
    let update = centre.list(number(), BLACK, 0);
    first.terminal_mut().update_list(&update, &centre.verifier).unwrap();
    let refusal = refused(first.enter(&mut Field::of(&mut phone, None), at(8, 0, 0)));
    assert_eq!(refusal, Refusal::BlackListedAndLocked);
    let elsewhere = refused(gate(9, 0x91).enter(&mut Field::of(&mut phone, None), at(8, 1, 0)));
    assert_eq!(elsewhere, Refusal::Blocked);
    assert_eq!(phone.balance(), START_FEN, "its money is still there");
    let [lock] = first.terminal().state().locks() else { panic!("one lock") };
    assert_eq!((lock.number, lock.locking.card, lock.locking.list_version), (1, serial(), 1));
    let batch = upload::next_batch(first.terminal_mut(), 10, None).unwrap().unwrap();
    let row = &batch.rows[0];
    assert_eq!((row.transaction_type, row.number), (LockRecord::TRANSACTION_TYPE, 1));
    assert_eq!((row.amount_fen, row.card.as_bytes(), &row.tac), (0, &serial().0[..], &None));
}

/// The exchange is torn at every command: in the end the card is locked once and there is one record of it.
#[test]
fn a_torn_lock_is_recorded_once() {
    let mut centre = Centre::new();
    let update = centre.list(number(), BLACK, 0);
    let mut points = 0;
    for exchange in 0..4 {
        for fault in
            [Fault::CommandLost, Fault::AnswerLost, Fault::PowerLostAtWrite(0), Fault::PowerLostAtWrite(1)]
        {
            let mut phone = Phone::new();
            let mut gate = gate(1, 0x11);
            gate.terminal_mut().update_list(&update, &centre.verifier).unwrap();
            let torn = Some((exchange, fault));
            gate.enter(&mut Field::of(&mut phone, torn), at(8, 0, 0)).unwrap_err();
            for minute in 1..3 {
                let refusal = refused(gate.enter(&mut Field::of(&mut phone, None), at(8, minute, 0)));
                assert!(
                    matches!(refusal, Refusal::BlackListedAndLocked | Refusal::Blocked),
                    "{exchange} {fault:?}: {refusal:?}"
                );
            }
            assert_eq!(gate.terminal().state().locks().len(), 1, "{exchange} {fault:?}");
            assert!(gate.terminal().state().records().is_empty());
            assert_eq!(phone.balance(), START_FEN);
            points += 1;
        }
    }
    println!("{points} cut points of a lock");
}

/// A grey card is refused and not locked, and served again when it is taken off.
#[test]
fn a_grey_listed_card_is_only_refused() {
    let mut phone = Phone::new();
    let mut centre = Centre::new();
    let mut gate = gate(1, 0x11);
    let update = centre.list(number(), GREY, 0);
    gate.terminal_mut().update_list(&update, &centre.verifier).unwrap();
    let refusal = refused(gate.enter(&mut Field::of(&mut phone, None), at(8, 0, 0)));
    assert_eq!(refusal, Refusal::GreyListed);
    let removed = centre.list(number(), ListAction::Remove, 1);
    gate.terminal_mut().update_list(&removed, &centre.verifier).unwrap();
    let passage = gate.enter(&mut Field::of(&mut phone, None), at(8, 1, 0));
    assert!(matches!(passage, Ok(Passage::Entered { .. })), "{passage:?}");
    assert!(gate.terminal().state().locks().is_empty());
}

/// What the centre did not sign, or what is older, changes nothing; what was taken is in the store.
#[test]
fn only_the_centres_list_is_taken() {
    let mut centre = Centre::new();
    let mut gate = gate(1, 0x11);
    let first = centre.list(number(), GREY, 0);
    let second = centre.list(number(), BLACK, 0);
    let terminal = gate.terminal_mut();
    let strangers = Centre::new();
    let forged = terminal.update_list(&second, &strangers.verifier);
    assert!(matches!(forged, Err(ListUpdateError::Update(UpdateError::Signature(_)))), "{forged:?}");
    terminal.update_list(&second, &centre.verifier).unwrap();
    let older = terminal.update_list(&first, &centre.verifier);
    assert!(matches!(older, Err(ListUpdateError::Update(UpdateError::Older { .. }))), "{older:?}");
    assert_eq!(terminal.list().standing(serial()), Some(ListKind::Black));
    let InMemory { list, .. } = terminal.store();
    assert_eq!(list.as_ref().unwrap().list.version(), ListVersion(2));
}

/// Days without a newer list: by default the gate serves on; a stricter one lets out whoever is inside.
#[test]
fn an_old_list_is_a_matter_of_policy() {
    let mut centre = Centre::new();
    let other = CardNumber::compose("31049990", 77).unwrap();
    let update = centre.list(other, BLACK, 0);
    for (when_old, served) in [(WhenOld::Serve, true), (WhenOld::Refuse, false)] {
        let mut phone = Phone::new();
        let policy = ListPolicy { fresh_hours: 48, when_old };
        let gate_with = |station, number| {
            let list = ListInUse::default().after(&update, &centre.verifier).unwrap();
            let state = tsm_terminal::TerminalState::default();
            let terminal = crate::terminal(tsm_terminal::TerminalClass::A, number, state);
            crate::gate_of(station, terminal.with_list(list, policy))
        };
        let (mut first, mut last) = (gate_with(1, 0x11), gate_with(9, 0x91));
        // The list was signed at the beginning of the 14th.
        first.enter(&mut Field::of(&mut phone, None), at(8, 0, 0)).unwrap();
        let days_later = |hour| tsm_epurse::DateTime::from_calendar((2026, 3, 17), (hour, 0, 0)).unwrap();
        let left = last.leave(&mut Field::of(&mut phone, None), days_later(8)).unwrap();
        assert!(matches!(left, Passage::Left { .. }), "who is inside gets out");
        let entered = first.enter(&mut Field::of(&mut phone, None), days_later(9));
        match entered {
            Ok(_) => assert!(served),
            Err(_) => assert!(!served && refused(entered) == Refusal::ListTooOld),
        }
    }
}
