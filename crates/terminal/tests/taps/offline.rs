//! Days without the centre: the store is bounded, survives power loss at every write, and shows what was
//! changed or cut off.

use tsm_domain::money::ListAction;
use tsm_epurse::{TerminalNumber, commands::PurchaseKind};
use tsm_terminal::{
    FileStore, Gate, Passage, Pos, Receipt, RecordProof, Refusal, RootKeys, TapError, Terminal,
    TerminalClass, TerminalState,
    gate::Booking,
    pos::PosProfile,
    state::Limits,
    store::{Cut, FileStoreError, Folder, MemoryMedium, OnLoss, Opened, Remark, StoreKey},
    upload::{self, Delivery},
};

use crate::{
    FARE_FEN, START_FEN, at, check_tac, fen, gate, gate_profile,
    hostile::refused,
    lists::Centre,
    phone::{Fault, Field, Phone},
    psam_profile, root_keys,
};

type Stored = Terminal<RootKeys, FileStore<MemoryMedium>>;

const NUMBER: u8 = 0x91;

fn key() -> StoreKey {
    StoreKey::new([0x5A; 32])
}

fn number() -> TerminalNumber {
    TerminalNumber::new([0x09, 0x99, 0, 0, 0, NUMBER])
}

fn open(medium: &MemoryMedium, on_loss: OnLoss) -> Result<Opened<MemoryMedium>, FileStoreError> {
    FileStore::open(medium.clone(), key(), number(), on_loss)
}

fn start(medium: &MemoryMedium) -> Stored {
    start_with(open(medium, OnLoss::Refuse).unwrap(), Limits::default())
}

fn start_with(opened: Opened<MemoryMedium>, limits: Limits) -> Stored {
    let Opened { store, state, list, .. } = opened;
    let profile = psam_profile(NUMBER);
    let terminal = Terminal::start(TerminalClass::A, profile, root_keys(), state, store, limits).unwrap();
    terminal.with_list(list.unwrap_or_default(), Default::default())
}

fn exit_gate(medium: &MemoryMedium) -> Gate<RootKeys, FileStore<MemoryMedium>> {
    Gate::new(gate_profile(9), start(medium))
}

fn inside() -> Phone {
    let mut phone = Phone::new();
    gate(1, 0x11).enter(&mut Field::of(&mut phone, None), at(8, 0, 0)).unwrap();
    phone
}

/// What the centre will have of a terminal, and what it cannot have yet.
fn sums(state: &TerminalState) -> (u32, u32) {
    let proven = state.records().iter().filter(|record| record.tac.is_some());
    let pending: u32 = state.pending().iter().map(|pending| pending.record.amount_fen).sum();
    (proven.map(|record| record.amount_fen).sum(), pending)
}

/// The terminal's power fails at every write of an exit, with every part of that write on the disk; the card's
/// link is torn as well at some of them. The terminal is started again and the rider comes back: one fare is on the
/// card and in the store, proven.
#[test]
fn power_lost_at_every_write_charges_once() {
    let base = inside();
    let whole = MemoryMedium::default();
    let mut gate = exit_gate(&whole);
    let begun = whole.writes();
    gate.leave(&mut Field::of(&mut base.copy(), None), at(8, 30, 0)).unwrap();
    let writes = whole.writes() - begun;
    assert_eq!(writes, 4, "the debit pending and the record, each with its anchor");
    let mut points = 0;
    let mut recovered = 0;
    for write in 0..writes {
        for torn in [0, 1, 11, 12, 40, 41, 200, usize::MAX] {
            for fault in [None, Some((6, Fault::CommandLost)), Some((6, Fault::AnswerLost))] {
                let medium = MemoryMedium::default();
                let mut gate = exit_gate(&medium);
                medium.cut(Cut { at: medium.writes() + write, torn });
                let mut phone = base.copy();
                let first = gate.leave(&mut Field::of(&mut phone, fault), at(8, 30, 0));
                assert!(first.is_err(), "{write} {torn} {fault:?}");
                let again = gate.leave(&mut Field::of(&mut phone, None), at(8, 30, 1));
                if matches!(first, Err(TapError::Store(_))) {
                    assert!(matches!(again, Err(TapError::Store(_))), "a broken store serves nobody");
                }
                medium.restart();
                let mut gate = exit_gate(&medium);
                let after = gate.leave(&mut Field::of(&mut phone, None), at(8, 30, 5)).unwrap();
                let Passage::Left { fare, balance, booking } = after else { panic!("{after:?}") };
                recovered += usize::from(booking == Booking::Before);
                assert_eq!(
                    (fare, balance),
                    (fen(FARE_FEN), fen(START_FEN - FARE_FEN)),
                    "{write} {torn} {fault:?}"
                );
                assert_eq!(phone.balance(), START_FEN - FARE_FEN, "{write} {torn} {fault:?}");
                let state = gate.terminal().state();
                assert_eq!(sums(state), (FARE_FEN, 0), "{write} {torn} {fault:?}");
                state.records().iter().for_each(check_tac);
                points += 1;
            }
        }
    }
    assert!(recovered > 0);
    println!("{points} cut points of an exit over a store in files");
}

/// The same for both kinds of sale, with the card's power as well.
#[test]
fn power_lost_in_a_sale_charges_once() {
    let profile = PosProfile {
        industry: tsm_epurse::file::Industry::Bus,
        line: [8, 0],
        station: [0x19, 0],
        operator: [0x30, 0],
        city: [0x99, 0],
        acquirer: [0x09, 0x99, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF],
    };
    let base = Phone::new();
    let mut points = 0;
    for kind in [PurchaseKind::Simple, PurchaseKind::Composite] {
        for write in 0..4 {
            for torn in [0, 20, usize::MAX] {
                for fault in [None, Some((4, Fault::PowerLostAtWrite(1)))] {
                    let medium = MemoryMedium::default();
                    let mut pos = Pos::new(profile, start(&medium));
                    medium.cut(Cut { at: medium.writes() + write, torn });
                    let mut phone = base.copy();
                    let first = pos.sell(&mut Field::of(&mut phone, fault), kind, fen(200), at(9, 0, 0));
                    assert!(first.is_err());
                    medium.restart();
                    let mut pos = Pos::new(profile, start(&medium));
                    let again =
                        pos.sell(&mut Field::of(&mut phone, None), kind, fen(200), at(9, 0, 5)).unwrap();
                    let (Receipt::Paid(record) | Receipt::PaidBefore(record)) = again;
                    check_tac(&record);
                    assert_eq!(phone.balance(), START_FEN - 200, "{kind:?} {write} {torn} {fault:?}");
                    assert_eq!(sums(pos.terminal().state()), (200, 0), "{kind:?} {write} {torn} {fault:?}");
                    points += 1;
                }
            }
        }
    }
    println!("{points} cut points of a sale over a store in files");
}

/// Power lost at every write of beginning a store and of delivering a batch: nothing is lost before the centre has it.
#[test]
fn power_lost_while_beginning_and_delivering() {
    let mut points = 0;
    for write in 0..2 {
        for torn in [0, 17, usize::MAX] {
            let medium = MemoryMedium::default();
            medium.cut(Cut { at: write, torn });
            assert!(open(&medium, OnLoss::Refuse).is_err());
            medium.restart();
            assert_eq!(open(&medium, OnLoss::Refuse).unwrap().remarks, [], "{write} {torn}");
            points += 1;
        }
    }
    for write in 0..4 {
        for torn in [0, 17, usize::MAX] {
            let medium = MemoryMedium::default();
            let mut gate = exit_gate(&medium);
            gate.leave(&mut Field::of(&mut inside(), None), at(8, 30, 0)).unwrap();
            let terminal = gate.terminal_mut();
            medium.cut(Cut { at: medium.writes() + write, torn });
            let receipt = |batch: &tsm_api::clearing::collection::TerminalBatch| {
                tsm_api::clearing::collection::BatchReceipt {
                    terminal: batch.header.terminal.clone(),
                    sequence: batch.header.sequence,
                    stage: tsm_api::clearing::collection::FileStage::Received,
                    verdicts: Vec::new(),
                }
            };
            let mut centre_has = Vec::new();
            if let Ok(Some(batch)) = upload::next_batch(terminal, 10, None) {
                centre_has.push(batch.clone());
                let _ = upload::delivered(terminal, &receipt(&batch));
            }
            medium.restart();
            let mut terminal = start(&medium);
            while let Some(batch) = upload::next_batch(&mut terminal, 10, None).unwrap() {
                assert_eq!(upload::delivered(&mut terminal, &receipt(&batch)).unwrap(), Delivery::Taken);
                centre_has.push(batch);
            }
            assert!(!centre_has.is_empty(), "{write} {torn}: the centre has the record");
            assert!(
                centre_has.windows(2).all(|pair| pair[0] == pair[1]),
                "{write} {torn}: the same batch again"
            );
            assert_eq!(terminal.state().undelivered(), 0);
            points += 1;
        }
    }
    println!("{points} cut points of a store's beginning and of a delivery");
}

/// A full store takes no paid tap, and says so; after a delivery it serves again.
#[test]
fn a_full_store_refuses() {
    let medium = MemoryMedium::default();
    let limits = Limits { records: 3, ..Limits::default() };
    let opened = open(&medium, OnLoss::Refuse).unwrap();
    let mut gate = Gate::new(gate_profile(1), start_with(opened, limits));
    for _ in 0..3 {
        gate.enter(&mut Field::of(&mut Phone::new(), None), at(8, 0, 0)).unwrap();
    }
    let mut phone = Phone::new();
    let refusal = refused(gate.enter(&mut Field::of(&mut phone, None), at(8, 1, 0)));
    assert_eq!(refusal, Refusal::StoreFull);
    assert_eq!(phone.log().len(), 0);
    let batch = upload::next_batch(gate.terminal_mut(), 2, None).unwrap().unwrap();
    let receipt = tsm_api::clearing::collection::BatchReceipt {
        terminal: batch.header.terminal.clone(),
        sequence: 1,
        stage: tsm_api::clearing::collection::FileStage::Taken,
        verdicts: Vec::new(),
    };
    upload::delivered(gate.terminal_mut(), &receipt).unwrap();
    gate.enter(&mut Field::of(&mut phone, None), at(8, 2, 0)).unwrap();
}

fn used() -> MemoryMedium {
    let medium = MemoryMedium::default();
    let mut gate = exit_gate(&medium);
    for minute in [30, 40, 50] {
        gate.leave(&mut Field::of(&mut inside(), None), at(8, minute, 0)).unwrap();
    }
    medium
}

/// A tail that is cut off, a changed byte anywhere, an older journal, a missing file: each is noticed, and
/// nothing is opened until a person has said so; then the loss is in the state for good.
#[test]
fn what_is_missing_or_changed_is_noticed() {
    let journal = used().file("journal").unwrap();
    let mut noticed = 0;
    for place in (24..journal.len()).step_by(7) {
        let medium = used();
        let mut changed = journal.clone();
        changed[place] ^= 0x20;
        medium.put("journal", Some(changed));
        assert!(open(&medium, OnLoss::Refuse).is_err(), "changed at {place}");
        noticed += 1;
    }
    for cut in (0..journal.len()).step_by(7) {
        let medium = used();
        medium.put("journal", Some(journal[..cut].to_vec()));
        assert!(open(&medium, OnLoss::Refuse).is_err(), "cut at {cut}");
        noticed += 1;
    }
    println!("{noticed} changes and cuts noticed");
    let gone = used();
    gone.put("journal", None);
    assert!(matches!(open(&gone, OnLoss::Refuse), Err(FileStoreError::LinesMissing(_))));
    let no_anchor = used();
    no_anchor.put("anchor", None);
    assert!(matches!(open(&no_anchor, OnLoss::Refuse), Err(FileStoreError::NoAnchor)));
    let other = FileStore::open(used(), StoreKey::new([1; 32]), number(), OnLoss::Refuse);
    assert!(other.is_err(), "another terminal's key");

    let medium = used();
    let lines = journal.len() - 10;
    medium.put("journal", Some(journal[..lines].to_vec()));
    let opened = open(&medium, OnLoss::GoOn).unwrap();
    let Some(Remark::LinesMissing(loss)) = opened.remarks.first().copied() else {
        panic!("{:?}", opened.remarks);
    };
    assert_eq!((loss.written, loss.found), (6, 5));
    let mut terminal = start_with(opened, Limits::default());
    assert_eq!(terminal.state().records().len(), 2, "the last record is lost; its debit is pending again");
    assert_eq!(terminal.state().pending().len(), 1);
    terminal.note_loss(loss).unwrap();
    let again = open(&medium, OnLoss::Refuse).unwrap();
    assert_eq!((again.remarks.len(), again.state.losses()), (0, &[loss][..]));
}

/// A snapshot takes the place of many lines, and its writes may be torn as well.
#[test]
fn a_long_journal_becomes_short_again() {
    let medium = used();
    let before = start(&medium).state().clone();
    let long = medium.file("journal").unwrap().len();
    for cut in [None, Some(0), Some(1)] {
        let medium = used();
        let Opened { mut store, state, .. } = open(&medium, OnLoss::Refuse).unwrap();
        if let Some(write) = cut {
            medium.cut(Cut { at: medium.writes() + write, torn: 0 });
        }
        let compacted = tsm_terminal::TerminalStore::compact(&mut store, &state);
        assert_eq!(compacted.is_ok(), cut.is_none());
        medium.restart();
        let terminal = start(&medium);
        assert_eq!(terminal.state(), &before, "{cut:?}");
        assert_eq!(medium.file("journal").unwrap().len() < long, cut != Some(0));
    }
}

/// The list is kept, and a damaged one is not used.
#[test]
fn the_list_is_kept() {
    let medium = MemoryMedium::default();
    let mut centre = Centre::new();
    let card = tsm_domain::CardNumber::compose("31049990", 5).unwrap();
    let action = ListAction::Put(tsm_domain::money::ListKind::Black, tsm_domain::money::ListReason::Lost);
    let update = centre.list(card, action, 0);
    start(&medium).update_list(&update, &centre.verifier).unwrap();
    assert_eq!(start(&medium).list().list.len(), 1);
    let mut damaged = medium.file("list").unwrap();
    let last = damaged.len() - 3;
    damaged[last] ^= 1;
    medium.put("list", Some(damaged));
    let opened = open(&medium, OnLoss::Refuse).unwrap();
    assert_eq!((opened.remarks, opened.list), (vec![Remark::ListDamaged], None));
}

/// A clock that goes back, or far ahead, is noted once.
#[test]
fn jumps_of_the_clock_are_noted() {
    let mut phone = Phone::new();
    let mut gate = gate(1, 0x11);
    let day = |day, hour| tsm_epurse::DateTime::from_calendar((2026, 3, day), (hour, 0, 0)).unwrap();
    for at in [day(14, 8), day(14, 7), day(14, 7), day(25, 7)] {
        let _ = gate.enter(&mut Field::of(&mut phone, None), at);
    }
    let jumps = gate.terminal().state().clock_jumps();
    let seen: Vec<_> = jumps.iter().map(|jump| (jump.before, jump.after)).collect();
    assert_eq!(seen, [(day(14, 8), day(14, 7)), (day(14, 7), day(25, 7))]);
}

/// Every card comes to a gate that has never met the centre for three days, and all of it is delivered in the end.
#[test]
fn three_days_offline() {
    let medium = MemoryMedium::default();
    let mut phone = inside();
    let mut paid = 0;
    for day in 14..17 {
        for hour in [9, 12, 18] {
            // The terminal is switched off and on between the taps.
            let mut gate = Gate::new(gate_profile(9), start(&medium));
            let moment =
                |minute| tsm_epurse::DateTime::from_calendar((2026, 3, day), (hour, minute, 0)).unwrap();
            gate.leave(&mut Field::of(&mut phone, None), moment(0)).unwrap();
            gate.enter(&mut Field::of(&mut phone, None), moment(1)).unwrap();
            paid += if paid == 0 { FARE_FEN } else { 300 };
        }
    }
    assert_eq!(phone.balance(), START_FEN - paid);
    let mut terminal = start(&medium);
    assert_eq!(terminal.state().undelivered(), 18);
    assert!(terminal.state().records().iter().all(|record| record.proof == RecordProof::Mac2));
    let mut delivered = 0;
    while let Some(batch) = upload::next_batch(&mut terminal, 5, None).unwrap() {
        delivered += batch.header.sum_fen;
        let receipt = tsm_api::clearing::collection::BatchReceipt {
            terminal: batch.header.terminal.clone(),
            sequence: batch.header.sequence,
            stage: tsm_api::clearing::collection::FileStage::Taken,
            verdicts: Vec::new(),
        };
        assert_eq!(upload::delivered(&mut terminal, &receipt).unwrap(), Delivery::Taken);
    }
    assert_eq!(delivered, u64::from(paid));
}

/// The same files in a folder of the file system.
#[test]
fn a_folder_keeps_what_a_terminal_writes() {
    let path = std::env::temp_dir().join(format!("tsm-terminal-{}", std::process::id()));
    let open = || FileStore::open(Folder::open(&path).unwrap(), key(), number(), OnLoss::Refuse).unwrap();
    let start = || {
        let Opened { store, state, remarks, .. } = open();
        assert_eq!(remarks, []);
        let profile = psam_profile(NUMBER);
        let limits = Limits::default();
        Terminal::start(TerminalClass::A, profile, root_keys(), state, store, limits).unwrap()
    };
    let mut gate = Gate::new(gate_profile(9), start());
    gate.leave(&mut Field::of(&mut inside(), None), at(8, 30, 0)).unwrap();
    let mut again = start();
    assert_eq!(again.state(), gate.terminal().state());
    assert_eq!(sums(again.state()), (FARE_FEN, 0));
    // A torn write at the end is left out, and written over.
    let journal = path.join("journal");
    let whole = std::fs::read(&journal).unwrap();
    std::fs::write(&journal, [&whole[..], &[0, 0, 1]].concat()).unwrap();
    assert_eq!(open().remarks, [Remark::TornWrite { bytes: 3 }]);
    drop(gate);
    let batch = upload::next_batch(&mut again, 10, None).unwrap().unwrap();
    assert_eq!(batch.rows.len(), 1);
    assert_eq!(start().state().batches().open, Some(1));
    std::fs::remove_dir_all(&path).unwrap();
}

/// The power failed when the record was written: the rider who paid in that moment is told of it once and pays once.
#[test]
fn whoever_paid_in_the_last_moment_pays_once() {
    let medium = MemoryMedium::default();
    let (mut payer, mut other) = (inside(), inside());
    let mut gate = exit_gate(&medium);
    medium.cut(Cut { at: medium.writes() + 2, torn: usize::MAX });
    gate.leave(&mut Field::of(&mut payer, None), at(8, 30, 0)).unwrap_err();
    medium.restart();
    let mut gate = exit_gate(&medium);
    let left = gate.leave(&mut Field::of(&mut payer, None), at(8, 30, 9)).unwrap();
    assert!(matches!(left, Passage::Left { booking: Booking::Before, .. }), "{left:?}");
    let left = gate.leave(&mut Field::of(&mut other, None), at(8, 31, 0)).unwrap();
    assert!(matches!(left, Passage::Left { booking: Booking::Now, .. }), "{left:?}");
    assert_eq!((payer.balance(), other.balance()), (START_FEN - FARE_FEN, START_FEN - FARE_FEN));
}
