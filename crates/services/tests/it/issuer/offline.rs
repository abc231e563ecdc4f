//! A gate without the centre for days: the rider pays offline, the gate's store keeps it through power losses,
//! and the centre books it when it comes.

use tsm_api::clearing::ConsumptionVerdict as Verdict;
use tsm_api::clearing::collection::{BatchReceipt, FileStage, TerminalBatch};
use tsm_domain::Fen;
use tsm_domain::money::fare::{DistanceBand, FareRule, FareTable, StationId};
use tsm_epurse::{DateTime, TerminalNumber};
use tsm_terminal::gate::Passage;
use tsm_terminal::state::Limits;
use tsm_terminal::store::{Cut, MemoryMedium, OnLoss, Opened, StoreKey};
use tsm_terminal::upload::{self, Delivery};
use tsm_terminal::{
    FileStore, Gate, GateProfile, PsamProfile, RootKeys, TapError, Terminal, TerminalClass, UnmatchedJourney,
};

use crate::issuer::cash::{Field, Station, opened};
use crate::issuer::city::{City, GATE};
use crate::issuer::phone::Lost;

type StoredGate = Gate<RootKeys, FileStore<MemoryMedium>>;

fn profile(station: u16) -> GateProfile {
    let band = |up_to_m, price| DistanceBand { up_to_m, price: Fen::new(price) };
    let rule = FareRule::Distance {
        positions_m: [(1, 0), (2, 8_000)].map(|(station, metres)| (StationId(station), metres)).into(),
        bands: vec![band(6_000, 300), band(12_000, 400)],
        maximum: Fen::new(900),
    };
    GateProfile {
        station: StationId(station),
        line: [1, 0],
        operator: [0, 1],
        city: [0x99, 0x90],
        acquirer: [0x09, 0x99, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF],
        fares: FareTable::new(1, rule).unwrap(),
        least_balance: Fen::new(300),
        unmatched: UnmatchedJourney::Refuse,
        neighbour_grace_s: 60,
    }
}

/// The gate that the centre knows, as it stands at `station` today. Its PSAM and its store go where it goes.
fn switched_on(city: &City, disk: &MemoryMedium, station: u16) -> StoredGate {
    let number = TerminalNumber::new(GATE);
    let opened = FileStore::open(disk.clone(), StoreKey::new([3; 32]), number, OnLoss::Refuse);
    let Opened { store, state, .. } = opened.unwrap();
    let psam =
        PsamProfile { terminal: number, serial: [1; 10], purchase_key_index: 1, wrong_mac2_limit: 100 };
    let keys = city.terminal_roots.clone();
    let terminal = Terminal::start(TerminalClass::A, psam, keys, state, store, Limits::default());
    Gate::new(profile(station), terminal.unwrap())
}

/// A tap; in between the gate may lose its power at any write, and the rider taps again.
fn tap(
    city: &City,
    disk: &MemoryMedium,
    station: u16,
    work: impl Fn(&mut StoredGate) -> Result<Passage, TapError>,
    cut: Option<u64>,
) -> Passage {
    let mut gate = switched_on(city, disk, station);
    if let Some(write) = cut {
        disk.cut(Cut { at: disk.writes() + write, torn: 9 });
    }
    let first = work(&mut gate);
    disk.restart();
    match first {
        Ok(passage) => passage,
        Err(_) => work(&mut switched_on(city, disk, station)).unwrap(),
    }
}

fn receipt(batch: &TerminalBatch, stage: FileStage) -> BatchReceipt {
    let (terminal, sequence) = (batch.header.terminal.clone(), batch.header.sequence);
    BatchReceipt { terminal, sequence, stage, verdicts: Vec::new() }
}

/// Cash goes on the card, the rider takes trips on three days at a gate that is offline and whose power fails, and
/// the gate delivers in the end, twice: the books have each trip once.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn days_offline_reach_the_books() {
    let city = City::new().await;
    let phone = opened(&city).await;
    let field = &mut Field::of(&phone, Lost::Nothing);
    Station::new(&city, 0x51).insert(field, 10_000, None).await;
    let disk = MemoryMedium::default();
    let (mut paid, mut trips, mut write) = (0, 0, 0);
    for day in 14..17 {
        for hour in [7, 12, 18] {
            let at = |minute| DateTime::from_calendar((2027, 3, day), (hour, minute, 0)).unwrap();
            let cuts = [Some(write % 4), Some((write + 1) % 5)].map(|cut| cut.filter(|cut| *cut < 4));
            write += 1;
            let enter = |gate: &mut StoredGate| gate.enter(&mut Field::of(&phone, Lost::Nothing), at(0));
            tap(&city, &disk, 1, enter, cuts[0]);
            let leave = |gate: &mut StoredGate| gate.leave(&mut Field::of(&phone, Lost::Nothing), at(20));
            let left = tap(&city, &disk, 2, leave, cuts[1]);
            assert!(
                matches!(left, Passage::Left { fare, .. } if fare.fen() == 400),
                "{day} {hour}: {left:?}"
            );
            paid += 400;
            trips += 1;
        }
    }
    assert_eq!(phone.balance().await, 10_000 - paid);
    let before = city.settled(10_000).await;
    assert_eq!(before.spent_fen, 0, "the centre has heard nothing yet");

    let centre = city.centre_peer(&city.gate_operator);
    let mut gate = switched_on(&city, &disk, 1);
    let terminal = gate.terminal_mut();
    assert_eq!(terminal.state().pending().len(), 0);
    let mut rows = 0;
    while let Some(batch) = upload::next_batch(terminal, 5, None).unwrap() {
        let report = upload::notice_of(&batch);
        let verdicts = centre.consumption(&report).await.unwrap().verdicts;
        assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Recorded), "{verdicts:?}");
        let again = centre.consumption(&report).await.unwrap().verdicts;
        assert!(again.iter().all(|verdict| *verdict == Verdict::Duplicate), "{again:?}");
        let partly = receipt(&batch, FileStage::Receiving);
        assert_eq!(upload::delivered(terminal, &partly).unwrap(), Delivery::SendAgain);
        let taken = receipt(&batch, FileStage::Taken);
        assert_eq!(upload::delivered(terminal, &taken).unwrap(), Delivery::Taken);
        rows += batch.rows.len();
    }
    assert_eq!(rows, 2 * trips, "an entry and an exit for each trip");
    let books = city.settled(u64::from(10_000 - paid)).await;
    assert_eq!((books.cash_in_fen, books.spent_fen), (10_000, paid.into()));
}
