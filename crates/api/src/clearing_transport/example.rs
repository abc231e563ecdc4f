//! The worked example of `docs/clearing-files.md`, computed again.

use tsm_domain::CardNumber;
use tsm_domain::bytes::Sha256Digest;

use super::{
    BlockKind, Decoder, FileInfo, Frame, Message, NoMac, Outcome, ReceiverStep, SyncBlock, UploadHost,
};
use crate::HexBytes;
use crate::clearing::collection::BatchRow;
use crate::clearing_files::{TransactionRecord, write_file};

const PAGE: &str = include_str!("../../../../docs/clearing-files.md");

/// What stands on the page for this text.
fn shown(text: &str) -> String {
    let file = text.replace(' ', "·").replace(&"F".repeat(256), "(F*256)");
    file.replace(&"·".repeat(192), "(·*192)")
}

fn frame(number: u64, message: &Message) -> String {
    let frame = Frame { sync: SyncBlock::numbered(number), body: message.encode().unwrap() };
    String::from_utf8(frame.encode(&NoMac).unwrap()).unwrap()
}

/// The file and each frame of both sides are those that the code makes, and the centre's half of the protocol
/// answers as the page says.
#[test]
fn the_worked_example_is_what_the_code_does() {
    let row = BatchRow {
        number: 5,
        card: HexBytes(CardNumber::compose("31049990", 5).unwrap().application_serial().to_vec()),
        transaction_type: 9,
        amount_fen: 300,
        balance_fen: 4_700,
        offline_counter: 12,
        terminal_counter: 77,
        date: HexBytes(vec![0x20, 0x26, 0x11, 0x21]),
        time: HexBytes(vec![0x08, 0x15, 0x30]),
        tac: Some(HexBytes(vec![0xDE, 0xAD, 0xBE, 0xEF])),
    };
    let record = TransactionRecord::of_row("099900000042".parse().unwrap(), &row).unwrap();
    let file = write_file(20_261_121, "CENTRE", &[record]).unwrap();
    assert!(PAGE.contains(&format!("```text\n{}```", shown(&file))), "{}", shown(&file));
    let digest = Sha256Digest::of(file.as_bytes());
    assert!(PAGE.contains(&format!("SHA-256 `{digest}`")));

    let size = file.len() as u64;
    let requests = [
        Message::UploadRequest { organisation: "City Transit".into(), code: "CITY".into() },
        Message::Count { files: 1, outcome: Outcome::Done },
        Message::File(FileInfo { name: "UP1".into(), digest, size }),
        Message::Data { kind: BlockKind::Last, block: file.clone().into_bytes() },
        Message::End,
    ];
    let mut host = UploadHost::default();
    let mut conversation = String::new();
    for (number, request) in (1..).zip(requests) {
        let sent = frame(number, &request);
        let mut decoder = Decoder::default();
        decoder.push(sent.as_bytes());
        let came = Message::decode(&decoder.next(&NoMac).unwrap().unwrap().body).unwrap();
        let reply = match host.receive(came).unwrap() {
            ReceiverStep::Who { .. } => host.admit(Outcome::Done),
            ReceiverStep::Send(reply) => reply,
            ReceiverStep::File(_) => host.resume(0, Outcome::Done),
            ReceiverStep::Block { .. } => host.stored(Outcome::Done),
            ReceiverStep::Whole => host.checked(Outcome::Done),
            ReceiverStep::Done => unreachable!("the end of the file is the last request"),
        };
        let sent = shown(&sent.replace(&file, "(the file)")).replace("(the·file)", "(the file)");
        conversation.push_str(&format!("> {sent}\n< {}\n", frame(number, &reply)));
    }
    assert!(host.is_done());
    assert!(PAGE.contains(&format!("```text\n{conversation}```")), "{conversation}");
}
