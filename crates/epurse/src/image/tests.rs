use core::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::{Amount, KeySet, OfflineCounter, OnlineCounter, OverdraftLimit, personalization::DataGrouping};

fn record(number: u8, fill: u8) -> TransitRecord {
    let mut bytes = TransitRecord::empty(RecordId::new(number).unwrap()).encode();
    bytes[3..].fill(fill);
    TransitRecord::decode(&bytes).unwrap()
}

fn start(purse: u32, limit: u32, used: u32) -> PurseStart {
    let state = PurseState::new(
        Amount::from_fen(purse),
        OverdraftLimit::from_fen(limit).unwrap(),
        OverdraftLimit::from_fen(used).unwrap(),
        OnlineCounter::new(0x2A),
        OfflineCounter::new(0x042E),
    );
    PurseStart { state: state.unwrap(), key_version: KeyVersion(3), algorithm: Algorithm::Sm4 }
}

fn used_card() -> CardImage {
    CardImage::new(
        PublicInformation::decode(
            &hex::decode("09990000FFFFFFFF02010310499900000001234520250101204512310000").unwrap(),
        )
        .unwrap(),
        Holder { name: *b"Somebody            ", ..Holder::ANONYMOUS },
        Management::decode(&[0x11; 60]).unwrap(),
        start(7300, 800, 0),
        (0..10).map(|fill| LogRecord::decode(&[fill; 23]).unwrap()).collect(),
        (0..30).map(|fill| HistoryRecord::decode(&[fill; 48]).unwrap()).collect(),
        [record(13, 9), record(1, 7), TransitRecord::empty(RecordId::BUS)],
    )
}

fn image() -> impl Strategy<Value = CardImage> {
    let bytes = |length: usize| prop::collection::vec(any::<u8>(), length);
    (
        (bytes(PublicInformation::LENGTH), bytes(Holder::LENGTH), bytes(Management::LENGTH)),
        (0..2_000_000u32, 0..0x00FF_FFFFu32, any::<u16>(), any::<u16>(), any::<u8>()),
        prop::collection::vec(bytes(LogRecord::LENGTH), 0..=LOG_RECORDS),
        prop::collection::vec(bytes(HistoryRecord::LENGTH), 0..=HISTORY_RECORDS),
        prop::collection::vec((1..=18u8, any::<u8>()), 0..=TRANSIT_RECORDS),
    )
        .prop_map(
            |((ef15, ef16, ef17), (purse, limit, online, offline, version), log, history, transit)| {
                let state = PurseState::new(
                    Amount::from_fen(purse),
                    OverdraftLimit::from_fen(limit).unwrap(),
                    OverdraftLimit::NONE,
                    OnlineCounter::new(online),
                    OfflineCounter::new(offline),
                )
                .unwrap();
                CardImage::new(
                    PublicInformation::decode(&ef15).unwrap(),
                    Holder::decode(&ef16).unwrap(),
                    Management::decode(&ef17).unwrap(),
                    PurseStart { state, key_version: KeyVersion(version), algorithm: Algorithm::TripleDes },
                    log.iter().map(|bytes| LogRecord::decode(bytes).unwrap()).collect(),
                    history.iter().map(|bytes| HistoryRecord::decode(bytes).unwrap()).collect(),
                    transit.into_iter().map(|(number, fill)| record(number, fill)),
                )
            },
        )
}

/// Nothing that a card shows gets lost on the way through the centre and personalisation.
#[test]
fn a_used_card_survives_encoding_and_personalisation() {
    let image = used_card();
    assert_eq!(CardImage::decode(&image.encode()), Ok(image.clone()));
    let keys = KeySet::from_fn(Algorithm::Sm4, |role| [role.index() as u8; 16]);
    let keys = EncipheredKeySet::seal(&keys, |block| Ok::<_, Infallible>(*block)).unwrap();
    let groupings = image.personalization(keys).groupings();
    let bytes: Vec<u8> = groupings.iter().flat_map(|grouping| grouping.encode().unwrap()).collect();
    let read = PersonalizationData::from_groupings(&DataGrouping::decode_all(&bytes).unwrap()).unwrap();
    assert_eq!(CardImage::from(&read), image);
    let own: Vec<_> = image.groupings().iter().map(PurseGrouping::encode).collect();
    let without_keys: Vec<_> =
        groupings.into_iter().filter(|grouping| grouping.id & 0xFF00 != 0xB100).collect();
    assert_eq!(own, without_keys, "the two ways to personalise store the same");
}

#[test]
fn every_difference_is_named() {
    let card = used_card();
    assert_eq!(card.differences(&card), []);
    let mut other = card.clone();
    other.start = start(0, 900, 7);
    other.start.key_version = KeyVersion(4);
    other.start.algorithm = Algorithm::TripleDes;
    other.log.pop();
    other.history.swap(0, 1);
    other.holder = Holder::ANONYMOUS;
    other.management.kind = crate::file::CardKind::Elder;
    other.transit_records = vec![record(1, 8), record(2, 1)];
    let named = card.differences(&other);
    for part in [
        ImagePart::Holder,
        ImagePart::Management,
        ImagePart::Balance,
        ImagePart::OverdraftLimit,
        ImagePart::OverdraftUsed,
        ImagePart::KeyVersion,
        ImagePart::Algorithm,
        ImagePart::Log,
        ImagePart::History,
        ImagePart::TransitRecord(RecordId::RAIL),
        ImagePart::TransitRecord(RecordId::BUS),
        ImagePart::TransitRecord(RecordId::new(13).unwrap()),
    ] {
        assert!(named.contains(&part), "{part}");
    }
    assert!(!named.contains(&ImagePart::OnlineCounter), "the counters are the same");
}

#[test]
fn an_image_has_one_encoding_only() {
    let good = used_card().encode();
    assert_eq!(CardImage::decode(&[&[2], &good[1..]].concat()), Err(ImageError::Version(2)));
    for cut in 0..good.len() {
        assert!(CardImage::decode(&good[..cut]).is_err(), "cut at {cut}");
    }
    assert!(CardImage::decode(&[good.as_slice(), &[0]].concat()).is_err(), "a byte too many");
    let mut impossible = good.clone();
    // Overdraft used (D001's bytes 7 to 9) although the purse holds money.
    let start = 1 + PublicInformation::LENGTH + Holder::LENGTH + Management::LENGTH;
    impossible[start + 9] = 1;
    assert_eq!(CardImage::decode(&impossible), Err(ImageError::State(StateError::UsedWithMoney)));
    let mut more_than_fits = good;
    more_than_fits[start + PurseStart::LENGTH] = 11;
    assert!(CardImage::decode(&more_than_fits).is_err());
}

#[test]
fn nobody_is_named_in_a_log() {
    assert!(!format!("{:?}", used_card()).contains("Somebody"));
}

proptest! {
    /// Any card there can be is kept without loss.
    #[test]
    fn any_card_survives(image in image()) {
        prop_assert_eq!(CardImage::decode(&image.encode()), Ok(image));
    }

    #[test]
    fn two_cards_differ_exactly_when_they_are_not_equal(one in image(), other in image()) {
        prop_assert_eq!(one.differences(&other).is_empty(), one == other);
        prop_assert!(one.differences(&one).is_empty());
    }
}

#[test]
fn decoding_never_panics_and_loses_nothing() {
    bolero::check!().for_each(|bytes| {
        if let Ok(image) = CardImage::decode(bytes) {
            assert_eq!(image.encode(), bytes);
        }
    });
}
