//! The positions that the field uses; what is written is read, what is read is written; anything else is
//! refused and nothing panics.

use proptest::prelude::*;
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::money::{ListKind, ListReason, ListedCard};
use tsm_domain::{CardNumber, TerminalNumber};

use super::*;
use crate::HexBytes;
use crate::clearing::collection::{BatchHeader, BatchRow};

fn card(own: u64) -> CardNumber {
    CardNumber::compose("31049990", own).unwrap()
}

fn terminal() -> TerminalNumber {
    "099900000042".parse().unwrap()
}

fn row(number: u64) -> BatchRow {
    BatchRow {
        number,
        card: HexBytes(card(number).application_serial().to_vec()),
        transaction_type: 9,
        amount_fen: 300,
        balance_fen: 4_700,
        offline_counter: 12,
        terminal_counter: 77,
        date: HexBytes(vec![0x20, 0x26, 0x11, 0x21]),
        time: HexBytes(vec![0x08, 0x15, 0x30]),
        tac: Some(HexBytes(vec![0xDE, 0xAD, 0xBE, 0xEF])),
    }
}

/// The published positions of a cleared transaction (clients and back office of the centre, 2015 layout).
#[test]
fn a_cleared_transaction_has_the_positions_of_the_field() {
    let mut record = TransactionRecord::of_row(terminal(), &row(5)).unwrap();
    record.centre_serial = 17;
    record.acquirer = "01011000".into();
    record.sender = "CITY".into();
    record.error = 3;
    record.text = "late".into();
    record.fee_fen = 9;
    record.issuer_share_fen = 4;
    record.acquirer_share_fen = 5;
    let line = record.encode().unwrap();
    let at = |from: usize, to: usize| &line[from..to];
    assert_eq!(line.len(), usize::from(TransactionRecord::LENGTH));
    assert_eq!(at(0, 12), "000000000017");
    assert_eq!(at(12, 24), "000000000005");
    assert_eq!(at(44, 48), "0009");
    assert_eq!(at(59, 70), "01011000   ");
    assert_eq!(at(92, 103), "CITY       ");
    assert_eq!(at(103, 107), "4111");
    assert_eq!(at(109, 129), "3104999000000000005 ");
    assert_eq!(at(129, 135), "000012");
    assert_eq!(at(135, 147), "000000005000");
    assert_eq!(at(147, 159), "000000000300");
    assert_eq!(at(159, 173), "20261121081530");
    assert_eq!(at(173, 174), "0");
    assert_eq!(at(176, 182), "000003");
    assert_eq!(at(182, 222).trim_end(), "late");
    assert_eq!(at(222, 223), "0");
    assert_eq!(at(223, 251).trim_start_matches('0'), "9");
    assert_eq!(at(251, 279).trim_start_matches('0'), "4");
    assert_eq!(at(279, 307).trim_start_matches('0'), "5");
    assert_eq!(at(335, 377), ["0112099900000042", "02100000000077", "0308DEADBEEF"].concat());
    assert_eq!(TransactionRecord::decode(line.as_bytes()), Ok(record.clone()));
    assert_eq!(record.to_row(), Ok(row(5)));
}

#[test]
fn a_reject_has_the_positions_of_the_field() {
    let upload = TransactionRecord::of_row(terminal(), &row(5)).unwrap();
    let record = RejectRecord::of(&upload, 3, 2, "the TAC is wrong");
    let line = record.encode().unwrap();
    assert_eq!(line.len(), 321);
    assert_eq!(&line[98..118], "3104999000000000005 ");
    assert_eq!(&line[118..124], "000012");
    assert_eq!(&line[124..136], "000000005000");
    assert_eq!(&line[136..148], "000000000300");
    assert_eq!(&line[148..162], "20261121081530");
    assert_eq!(&line[162..168], "000002");
    assert_eq!(line[168..208].trim_end(), "the TAC is wrong");
    assert_eq!(RejectRecord::decode(line.as_bytes()), Ok(record));
}

/// A line that cannot be read is rejected by its place in the file.
#[test]
fn an_unreadable_line_has_its_reject() {
    let record =
        RejectRecord::of_unreadable(4, 7, &format!("line 6: {}", FormatError::Field("check data").field()));
    let line = record.encode().unwrap();
    assert_eq!(
        (&line[..12], &line[98..118], &line[162..168]),
        ("000000000004", " ".repeat(20).as_str(), "000007")
    );
    assert_eq!(line[168..208].trim_end(), "line 6: check data");
    assert_eq!(RejectRecord::decode(line.as_bytes()), Ok(record));
    let long = RejectRecord::of_unreadable(0, 8, &format!("{} x", "y".repeat(39)));
    assert_eq!(RejectRecord::decode(long.encode().unwrap().as_bytes()), Ok(long));
}

#[test]
fn a_name_is_never_a_path() {
    for name in ["UP1", "UP20261122000001.TXT", "UP-CUT_2", "CL7", &format!("UP{}", "0".repeat(48))] {
        assert!(is_name(name), "{name}");
    }
    let long = format!("UP{}", "0".repeat(49));
    for name in [
        "UP/../../../tmp/x",
        "UP/..",
        "UP\\x",
        "UP..",
        "UP 1",
        "UP\0",
        "UP~1",
        "UP:",
        "XX1",
        "up1",
        "",
        &long,
    ] {
        assert!(!is_name(name), "{name}");
    }
}

#[test]
fn the_header_has_the_positions_of_the_field() {
    let header = FileHeader { records: 2, date: 20_261_121, receiver: "CITY".into(), record_length: 321 };
    let text = header.encode().unwrap();
    assert_eq!(text, format!("01\n00000220261121CITY       0321{}\n", "F".repeat(20)));
    assert_eq!(text.len(), RECORDS_BEGIN);
    assert_eq!(FileHeader::decode(text.as_bytes()), Ok(header));
}

#[test]
fn whole_files_round_trip_and_nothing_else_is_one() {
    let rows: Vec<_> = (1..4).map(|n| TransactionRecord::of_row(terminal(), &row(n)).unwrap()).collect();
    let text = write_file(20_261_121, "CITY", &rows).unwrap();
    let (header, read) = read_file::<TransactionRecord>(text.as_bytes()).unwrap();
    assert_eq!((header.records, &read), (3, &rows));
    assert_eq!(header.file_size(), text.len() as u64);
    for cut in 0..text.len() {
        assert!(read_file::<TransactionRecord>(&text.as_bytes()[..cut]).is_err(), "cut at {cut}");
    }
    let longer = format!("{text}\n");
    assert!(matches!(read_file::<TransactionRecord>(longer.as_bytes()), Err(FormatError::Size { .. })));
    assert!(matches!(
        read_file::<RejectRecord>(text.as_bytes()),
        Err(FormatError::RecordLength { expected: 321, found: 383 })
    ));
    let digest = Sha256Digest::of(text.as_bytes());
    let processed =
        ProcessedFile { name: "UP1".into(), digest, records: 3, taken: 2, rejected: 1, result: 0 };
    let text = write_file(20_261_121, "CITY", std::slice::from_ref(&processed)).unwrap();
    assert_eq!(read_file::<ProcessedFile>(text.as_bytes()).unwrap().1, [processed]);
    for (kind, reason) in [(ListKind::Black, ListReason::Lost), (ListKind::Grey, ListReason::Decided)] {
        let listed = ListedRecord::of(ListedCard { card: card(1), kind, reason });
        let text = write_file(20_261_121, "CITY", std::slice::from_ref(&listed)).unwrap();
        assert_eq!(read_file::<ListedRecord>(text.as_bytes()).unwrap().1, [listed]);
    }
}

/// What a terminal signed stands beside the upload under the same ending, and is read as it was signed.
#[test]
fn signatures_stand_beside_the_upload() {
    assert_eq!(Kind::Signatures.beside("UP0999-1").as_deref(), Some("SG0999-1"));
    assert_eq!(Kind::Signatures.beside("CL0999-1"), None);
    let rows = [row(1), row(2)];
    let header = BatchHeader {
        terminal: HexBytes(terminal().to_bcd().to_vec()),
        sequence: u64::MAX,
        count: 2,
        sum_fen: 600,
        digest: HexBytes(rows_digest(terminal(), &rows).unwrap().0.to_vec()),
        signature: None,
    };
    assert_eq!(SignedRows::of_header(&header), None, "nobody has signed it");
    let header = BatchHeader { signature: Some(HexBytes(vec![0xA5; 64])), ..header };
    let signed = SignedRows::of_header(&header).unwrap();
    assert_eq!(signed.to_header(), header);
    let text = write_file(20_261_121, "CENTRE", std::slice::from_ref(&signed)).unwrap();
    let line = signed.encode().unwrap();
    assert_eq!(read_file::<SignedRows>(text.as_bytes()).unwrap().1, [signed]);
    assert_eq!(line.len(), 250);
    for at in 0..line.len() {
        let mut changed = line.clone().into_bytes();
        changed[at] ^= 1;
        check_line::<SignedRows>(&changed);
    }
}

#[test]
fn values_that_do_not_fit_are_not_written() {
    let record = TransactionRecord::of_row(terminal(), &row(1)).unwrap();
    let long = TransactionRecord { sender: "A".repeat(12), ..record.clone() };
    assert_eq!(long.encode(), Err(FormatError::TooLong("sender")));
    let large = TransactionRecord { acquirer_serial: 1_000_000_000_000, ..record.clone() };
    assert_eq!(large.encode(), Err(FormatError::TooLong("acquirer serial")));
    let foreign = TransactionRecord { text: "é".into(), ..record };
    assert_eq!(foreign.encode(), Err(FormatError::Field("error text")));
    let odd = BatchRow { date: HexBytes(vec![0xAA; 4]), ..row(1) };
    assert_eq!(TransactionRecord::of_row(terminal(), &odd), Err(FormatError::Field("date")));
}

#[test]
fn the_digest_of_a_batch_covers_every_field() {
    let rows = [row(1), row(2)];
    let digest = rows_digest(terminal(), &rows).unwrap();
    let changed = [
        BatchRow { amount_fen: 301, balance_fen: 4_699, ..row(2) },
        BatchRow { balance_fen: 1, ..row(2) },
        BatchRow { tac: None, ..row(2) },
        BatchRow { number: 3, ..row(2) },
        BatchRow { offline_counter: 13, ..row(2) },
        BatchRow { terminal_counter: 78, ..row(2) },
        BatchRow { transaction_type: 6, ..row(2) },
    ];
    for other in changed {
        assert_ne!(rows_digest(terminal(), &[row(1), other]).unwrap(), digest);
    }
    let elsewhere = "099900000043".parse().unwrap();
    assert_ne!(rows_digest(elsewhere, &rows).unwrap(), digest);
}

/// Whatever stands in a line: it is refused, or it is exactly what the writer writes.
fn check_line<R: Record>(line: &[u8]) {
    if let Ok(record) = R::decode(line) {
        assert_eq!(record.encode().unwrap().as_bytes(), line);
    }
}

#[test]
fn any_bytes_are_refused_or_written_again() {
    bolero::check!().for_each(|bytes: &[u8]| {
        check_line::<TransactionRecord>(bytes);
        check_line::<RejectRecord>(bytes);
        check_line::<ProcessedFile>(bytes);
        check_line::<ListedRecord>(bytes);
        check_line::<SignedRows>(bytes);
        if let Ok(header) = FileHeader::decode(bytes) {
            assert_eq!(header.encode().unwrap().as_bytes(), bytes);
        }
        let _ = read_file::<TransactionRecord>(bytes);
    });
}

proptest! {
    /// A good line with one byte changed is refused, or is another line that the writer writes.
    #[test]
    fn a_changed_byte_is_noticed_or_meant(at in 0usize..383, byte in any::<u8>()) {
        let mut line = row_line(terminal(), &row(9)).unwrap().into_bytes();
        line[at] = byte;
        check_line::<TransactionRecord>(&line);
        let upload = TransactionRecord::of_row(terminal(), &row(5)).unwrap();
        let mut line = RejectRecord::of(&upload, 1, 2, "why").encode().unwrap().into_bytes();
        line[at % 321] = byte;
        check_line::<RejectRecord>(&line);
        let listed = ListedCard { card: card(1), kind: ListKind::Black, reason: ListReason::Lost };
        let mut line = ListedRecord::of(listed).encode().unwrap().into_bytes();
        line[at % 34] = byte;
        check_line::<ListedRecord>(&line);
    }
}
