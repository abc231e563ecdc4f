use core::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::{
    Amount, OfflineCounter, OnlineCounter, OverdraftLimit,
    file::RecordId,
    select::{DirectoryEntry, PURSE_AID, PURSE_LABEL},
};

fn keys(algorithm: Algorithm) -> KeySet {
    KeySet::from_fn(algorithm, |role| [0x40 + role.index() as u8; 16])
}

/// A stand-in for the session's data encryption key.
fn mask(block: &[u8; 16]) -> [u8; 16] {
    block.map(|byte| byte ^ 0x5C)
}

fn sealed(algorithm: Algorithm) -> EncipheredKeySet {
    EncipheredKeySet::seal(&keys(algorithm), |block| Ok::<_, Infallible>(mask(block))).unwrap()
}

fn used_card() -> PersonalizationData {
    let public_information = PublicInformation::decode(
        &hex::decode("09990000FFFFFFFF02010310499900000001234520250101204512310000").unwrap(),
    )
    .unwrap();
    let management = Management::decode(&[0x11; 60]).unwrap();
    let mut card = PersonalizationData::new_card(
        public_information,
        management,
        Algorithm::TripleDes,
        sealed(Algorithm::TripleDes),
    );
    card.keys_sm4 = Some(sealed(Algorithm::Sm4));
    card.start.state = PurseState::new(
        Amount::from_fen(7300),
        OverdraftLimit::from_fen(800).unwrap(),
        OverdraftLimit::NONE,
        OnlineCounter::new(0x2A),
        OfflineCounter::new(0x042E),
    )
    .unwrap();
    card.log = (0..10).map(|fill| LogRecord::decode(&[fill; 23]).unwrap()).collect();
    card.history = (0..30).map(|fill| HistoryRecord::decode(&[fill; 48]).unwrap()).collect();
    card.transit_records =
        (1..=18).map(|number| TransitRecord::empty(RecordId::new(number).unwrap())).collect();
    let pin = Pin::new(&[0x12, 0x34, 0x56]).unwrap();
    card.pin = Some(EncipheredPin::seal(&pin, 3, |block| Ok::<_, Infallible>(mask(block))).unwrap());
    card
}

/// A card with all ten and all thirty cyclic records moves to another card without a changed byte.
#[test]
fn a_used_card_is_restored_exactly() {
    let card = used_card();
    let bytes: Vec<u8> = card.groupings().iter().flat_map(|grouping| grouping.encode().unwrap()).collect();
    let read = DataGrouping::decode_all(&bytes).unwrap();
    assert_eq!(read, card.groupings());
    assert_eq!(PersonalizationData::from_groupings(&read), Ok(card));
}

#[test]
fn keys_and_pin_open_only_as_what_they_were() {
    let set = sealed(Algorithm::TripleDes);
    assert_eq!(set.open(Algorithm::TripleDes, mask), Ok(keys(Algorithm::TripleDes)));
    let wrong = set.open(Algorithm::TripleDes, |block| *block);
    assert_eq!(wrong, Err(PersonalizationError::CheckValue("card-master")));
    let pin = used_card().pin.unwrap();
    assert_eq!(pin.open(mask), Ok(Pin::new(&[0x12, 0x34, 0x56]).unwrap()));
    assert_eq!(pin.open(|block| *block), Err(PersonalizationError::Pin));
}

#[test]
fn incomplete_and_contradictory_sets_are_refused() {
    let groupings = used_card().groupings();
    let without =
        |id: u16| -> Vec<_> { groupings.iter().filter(|grouping| grouping.id != id).cloned().collect() };
    for id in [dgi::PUBLIC_INFORMATION, dgi::HOLDER, dgi::MANAGEMENT, dgi::KEYS_3DES, dgi::PURSE_START] {
        let refused = PersonalizationData::from_groupings(&without(id));
        assert_eq!(refused, Err(PersonalizationError::Missing(id)));
    }
    let mut twice = groupings.clone();
    twice.push(groupings[0].clone());
    let refused = PersonalizationData::from_groupings(&twice);
    assert_eq!(refused, Err(PersonalizationError::Duplicate(dgi::PUBLIC_INFORMATION)));
    let unknown = PurseGrouping::decode(&DataGrouping { id: 0xD0FF, data: vec![] });
    assert_eq!(unknown, Err(PersonalizationError::Unknown(0xD0FF)));
    let misplaced = DataGrouping { id: 0xD102, data: TransitRecord::empty(RecordId::RAIL).encode() };
    assert!(matches!(
        PurseGrouping::decode(&misplaced),
        Err(PersonalizationError::Layout { id: 0xD102, .. })
    ));
    let eleven = DataGrouping { id: dgi::LOG, data: vec![0; 11 * 23] };
    assert!(matches!(PurseGrouping::decode(&eleven), Err(PersonalizationError::Layout { id: dgi::LOG, .. })));
}

#[test]
fn the_directory_is_for_the_ppse() {
    let entry = DirectoryEntry { aid: PURSE_AID, label: PURSE_LABEL.into(), priority: 1 };
    let grouping = PurseGrouping::Directory(Directory { entries: vec![entry] }).encode();
    assert_eq!(grouping.id, 0x0100);
    let mut groupings = used_card().groupings();
    groupings.push(grouping);
    assert_eq!(PersonalizationData::from_groupings(&groupings), Ok(used_card()));
}

#[test]
fn parsers_never_panic() {
    bolero::check!().for_each(|bytes| {
        if let Ok(groupings) = DataGrouping::decode_all(bytes) {
            for grouping in &groupings {
                let _ = PurseGrouping::decode(grouping);
            }
            let _ = PersonalizationData::from_groupings(&groupings);
        }
    });
}

proptest! {
    #[test]
    fn groupings_read_back(groupings in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..400)), 0..5)) {
        let groupings: Vec<_> = groupings.into_iter().map(|(id, data)| DataGrouping { id, data }).collect();
        let bytes: Vec<u8> = groupings.iter().flat_map(|grouping| grouping.encode().unwrap()).collect();
        prop_assert_eq!(DataGrouping::decode_all(&bytes), Ok(groupings));
    }
}
