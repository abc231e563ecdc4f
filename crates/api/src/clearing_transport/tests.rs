//! Frames and messages have the field's lengths; files cut at any byte are resumed and come whole; what does
//! not fit is refused and nothing panics.

use std::collections::VecDeque;

use proptest::prelude::*;
use tsm_domain::bytes::Sha256Digest;

use super::*;

/// A MAC that is none, but differs with every byte.
struct Sum;

impl FrameMac for Sum {
    fn mac(&self, covered: &[u8]) -> Result<[u8; 8], MacError> {
        let digest = Sha256Digest::of(covered).0;
        Ok(digest[..8].try_into().unwrap())
    }
}

fn info(name: &str, content: &[u8]) -> FileInfo {
    FileInfo { name: name.into(), digest: Sha256Digest::of(content), size: content.len() as u64 }
}

fn messages() -> Vec<(Message, usize)> {
    let (organisation, code) = ("Beijing Transit".to_owned(), "01011000".to_owned());
    vec![
        (Message::UploadRequest { organisation: organisation.clone(), code: code.clone() }, 313),
        (Message::DownloadRequest { organisation, code, date: 20_261_121 }, 321),
        (Message::File(info("UP20261121", b"content")), 578),
        (Message::Data { kind: BlockKind::Last, block: vec![7; 100] }, 107),
        (Message::Data { kind: BlockKind::More, block: Vec::new() }, 7),
        (Message::Resume { held: 1_234_567_890, outcome: Outcome::SizeConflict }, 18),
        (Message::Count { files: 12, outcome: Outcome::Done }, 12),
        (Message::End, 14),
        (Message::Ack(Outcome::Unavailable), 8),
    ]
}

/// The lengths of the bodies in the field (clients and back office of the centre, 2015).
#[test]
fn messages_have_the_lengths_of_the_field_and_round_trip() {
    for (message, length) in messages() {
        let body = message.encode().unwrap();
        assert_eq!(body.len(), length, "{message:?}");
        assert_eq!(&body[..2], b"01");
        assert_eq!(body[2..6], *message.number().to_string().as_bytes());
        assert_eq!(Message::decode(&body), Ok(message.clone()));
        if !matches!(message, Message::Data { .. }) {
            assert!(Message::decode(&body[..length - 1]).is_err(), "{message:?}");
        }
    }
    assert_eq!(Message::End.encode().unwrap(), b"014007**TEOF**");
    assert_eq!(Message::Ack(Outcome::SizeConflict).encode().unwrap(), b"01400809");
    let long = FileInfo { name: "N".repeat(51), ..info("N", b"") };
    assert_eq!(Message::File(long).encode(), Err(MessageError::Field("file name")));
    let large = FileInfo { size: 10_000_000_000, ..info("N", b"") };
    assert_eq!(Message::File(large).encode(), Err(MessageError::Field("size")));
}

/// Whatever hashing libraries print and text fields are filled with; nothing else.
#[test]
fn a_digest_is_read_in_either_case_and_padding() {
    let message = Message::File(info("UP1", b"content"));
    let body = message.encode().unwrap();
    let digest = 6 + 50..6 + 50 + 256;
    let with = |field: String| {
        let mut body = body.clone();
        body[digest.clone()].copy_from_slice(field.as_bytes());
        Message::decode(&body)
    };
    let upper = Sha256Digest::of(b"content").to_string().to_uppercase();
    let lower = upper.to_lowercase();
    for pad in [" ", "\0"] {
        for digits in [&upper, &lower] {
            assert_eq!(with(digits.clone() + &pad.repeat(192)), Ok(message.clone()));
        }
        assert!(with(upper[..62].to_owned() + &pad.repeat(194)).is_err(), "too short");
    }
    assert_ne!(upper, lower);
    for pad in ["0", "F", "x"] {
        assert_eq!(with(upper.clone() + &pad.repeat(192)), Err(MessageError::Field("digest")));
    }
}

/// A frame that is refused is answered under its own synchronisation block.
#[test]
fn a_refused_frame_shows_its_synchronisation_block() {
    let bytes = Frame { sync: SyncBlock::numbered(42), body: b"01400800".to_vec() }.encode(&NoMac).unwrap();
    let mut decoder = Decoder::default();
    assert_eq!(decoder.sync(), None);
    decoder.push(&bytes);
    let refused = decoder.next(&Sum).unwrap_err();
    assert_eq!((refused.outcome(), decoder.sync()), (Outcome::NotAdmitted, Some(SyncBlock::numbered(42))));
    let mut noise = Decoder::default();
    noise.push(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(noise.next(&NoMac).unwrap_err().outcome(), Outcome::Malformed);
    assert_eq!(noise.sync(), None, "no characters of a block");
}

#[test]
fn a_frame_is_length_sync_flags_body_and_mac() {
    let frame = Frame { sync: SyncBlock::numbered(42), body: b"01400800".to_vec() };
    let bytes = frame.encode(&NoMac).unwrap();
    assert_eq!(bytes, ["0038", "000000000042", "00", "01400800", "0000000000000000"].concat().as_bytes());
    for cut in 0..bytes.len() {
        let mut decoder = Decoder::default();
        decoder.push(&bytes[..cut]);
        assert_eq!(decoder.next(&NoMac), Ok(None), "cut at {cut}");
        decoder.push(&bytes[cut..]);
        assert_eq!(decoder.next(&NoMac), Ok(Some(frame.clone())), "cut at {cut}");
        assert!(!decoder.is_within_a_frame());
    }
    let with_mac = frame.encode(&Sum).unwrap();
    for at in 4..with_mac.len() {
        let mut changed = with_mac.clone();
        changed[at] ^= 1;
        let mut decoder = Decoder::default();
        decoder.push(&changed);
        assert!(decoder.next(&Sum).is_err(), "byte {at}");
    }
    let mut decoder = Decoder::default();
    decoder.push(&bytes);
    assert_eq!(decoder.next(&Sum), Err(FrameError::Mac), "zeros are no MAC where a key is agreed");
    let long = Frame { body: vec![0; 9_970], ..frame };
    assert_eq!(long.encode(&NoMac), Err(FrameError::TooLong(9_970)));
    for (flags, error) in [(b"10", FrameError::Compressed), (b"01", FrameError::Encrypted)] {
        let mut changed = bytes.clone();
        changed[16..18].copy_from_slice(flags);
        let mut decoder = Decoder::default();
        decoder.push(&changed);
        assert_eq!(decoder.next(&NoMac), Err(error));
    }
}

/// What a centre has of files.
#[derive(Default)]
struct Shelf(Vec<(FileInfo, Vec<u8>)>);

impl Shelf {
    fn held(&mut self, info: &FileInfo) -> u64 {
        match self.0.iter().find(|(known, _)| known.name == info.name) {
            Some((_, bytes)) => bytes.len() as u64,
            None => {
                self.0.push((info.clone(), Vec::new()));
                0
            }
        }
    }
}

/// One connection of an upload; it breaks after `limit` blocks. Gives whether it came to its end.
fn upload(files: &[(FileInfo, Vec<u8>)], shelf: &mut Shelf, limit: usize) -> bool {
    let infos = files.iter().map(|(info, _)| info.clone()).collect();
    let mut client = UploadClient::new("City", "01011000", infos);
    let mut host = UploadHost::default();
    let mut blocks = 0;
    let mut current = String::new();
    let mut to_host = client.start();
    loop {
        let reply = match host.receive(to_host).unwrap() {
            ReceiverStep::Who { code, .. } => {
                assert_eq!(code, "01011000");
                host.admit(Outcome::Done)
            }
            ReceiverStep::Send(reply) => reply,
            ReceiverStep::File(info) => {
                current = info.name.clone();
                let held = shelf.held(&info);
                host.resume(held, Outcome::Done)
            }
            ReceiverStep::Block { offset, bytes } => {
                if blocks == limit {
                    return false;
                }
                blocks += 1;
                let (_, content) = shelf.0.iter_mut().find(|(info, _)| info.name == current).unwrap();
                assert_eq!(content.len() as u64, offset);
                content.extend(bytes);
                host.stored(Outcome::Done)
            }
            ReceiverStep::Whole => {
                let (info, content) = shelf.0.iter().find(|(info, _)| info.name == current).unwrap();
                assert_eq!(Sha256Digest::of(content), info.digest);
                host.checked(Outcome::Done)
            }
            ReceiverStep::Done => unreachable!("a host of uploads answers everything"),
        };
        to_host = match client.receive(&reply).unwrap() {
            SenderStep::Send(message) => message,
            SenderStep::Read { file, offset, length } => {
                let offset = offset as usize;
                client.block(files[file].1[offset..offset + length].to_vec()).unwrap()
            }
            SenderStep::Done => {
                assert!(host.is_done());
                return true;
            }
        };
    }
}

fn files(sizes: &[usize]) -> Vec<(FileInfo, Vec<u8>)> {
    sizes
        .iter()
        .enumerate()
        .map(|(index, size)| {
            let content: Vec<u8> = (0..*size).map(|at| (at * 7 + index) as u8).collect();
            (info(&format!("UP{index}"), &content), content)
        })
        .collect()
}

#[test]
fn an_upload_resumes_after_every_block() {
    let files = files(&[0, 1, 1_024, 1_025, 3_000]);
    for limit in 0..8 {
        let mut shelf = Shelf::default();
        let mut connections = 1;
        while !upload(&files, &mut shelf, limit.max(1)) {
            connections += 1;
            assert!(connections < 20);
        }
        let held: Vec<_> = shelf.0.iter().map(|(_, bytes)| bytes.clone()).collect();
        let sent: Vec<_> = files.iter().map(|(_, bytes)| bytes.clone()).collect();
        assert_eq!(held, sent, "limit {limit}");
    }
}

#[test]
fn a_download_resumes_from_any_byte() {
    let files = files(&[5, 2_500]);
    for held in 0..=2_500u64 {
        let mut host = DownloadHost::default();
        let mut client = DownloadClient::new("City", "01011000", 0);
        let mut got: Vec<Vec<u8>> = vec![Vec::new(), files[1].1[..held as usize].to_vec()];
        let mut current = 0;
        let mut to_host = client.start();
        'conversation: loop {
            let mut replies: VecDeque<Message> = match host.receive(to_host).unwrap() {
                Served::Who { .. } => {
                    let infos = files.iter().map(|(info, _)| info.clone()).collect();
                    [host.offer(infos, Outcome::Done)].into()
                }
                Served::Then(first, step) => {
                    let mut replies: VecDeque<Message> = first.into_iter().collect();
                    match step {
                        SenderStep::Send(message) => replies.push_back(message),
                        SenderStep::Read { file, offset, length } => {
                            let offset = offset as usize;
                            let bytes = files[file].1[offset..offset + length].to_vec();
                            replies.push_back(host.block(bytes).unwrap());
                        }
                        SenderStep::Done => break 'conversation,
                    }
                    replies
                }
            };
            let mut next = None;
            while let Some(reply) = replies.pop_front() {
                next = match client.receive(reply).unwrap() {
                    ReceiverStep::Send(message) => Some(message),
                    ReceiverStep::File(info) => {
                        current = if info.name == "UP0" { 0 } else { 1 };
                        Some(client.resume(got[current].len() as u64, Outcome::Done))
                    }
                    ReceiverStep::Block { offset, bytes } => {
                        assert_eq!(offset, got[current].len() as u64);
                        got[current].extend(bytes);
                        Some(client.stored())
                    }
                    ReceiverStep::Whole => Some(client.checked(Outcome::Done)),
                    ReceiverStep::Done => None,
                    ReceiverStep::Who { .. } => unreachable!("a client is not asked"),
                };
            }
            to_host = next.expect("every turn of the host is answered");
        }
        assert!(host.is_done() && client.is_done());
        assert_eq!((&got[0], &got[1]), (&files[0].1, &files[1].1), "from byte {held}");
    }
}

#[test]
fn a_sender_that_does_not_keep_to_the_size_is_refused() {
    let start = || {
        let mut host = UploadHost::default();
        host.receive(Message::UploadRequest { organisation: "City".into(), code: "1".into() }).unwrap();
        host.admit(Outcome::Done);
        host.receive(Message::Count { files: 1, outcome: Outcome::Done }).unwrap();
        host.receive(Message::File(info("UP", b"0123456789"))).unwrap();
        host.resume(4, Outcome::Done);
        host
    };
    let data = |kind, length| Message::Data { kind, block: vec![0; length] };
    for wrong in [
        data(BlockKind::More, 7),
        data(BlockKind::Last, 5),
        data(BlockKind::More, 6),
        data(BlockKind::More, 0),
        Message::End,
    ] {
        assert_eq!(start().receive(wrong), Err(TransportFault::Size));
    }
    assert_eq!(TransportFault::Size.outcome(), Some(Outcome::SizeConflict));
    let odd = start().receive(Message::Count { files: 1, outcome: Outcome::Done }).unwrap_err();
    assert_eq!(odd.outcome(), Some(Outcome::Malformed), "{odd}");
    assert!(matches!(start().receive(data(BlockKind::Last, 6)), Ok(ReceiverStep::Block { offset: 4, .. })));
}

#[test]
fn a_refusal_ends_a_file_or_the_conversation() {
    let mut client = UploadClient::new("City", "1", vec![info("A", b"a"), info("B", b"b")]);
    client.start();
    assert_eq!(
        client.receive(&Message::Ack(Outcome::NotAdmitted)),
        Err(TransportFault::Refused(Outcome::NotAdmitted))
    );
    let mut client = UploadClient::new("City", "1", vec![info("A", b"a"), info("B", b"b")]);
    client.start();
    client.receive(&Message::Ack(Outcome::Done)).unwrap();
    client.receive(&Message::Ack(Outcome::Done)).unwrap();
    let next = client.receive(&Message::Resume { held: 0, outcome: Outcome::SizeConflict }).unwrap();
    assert_eq!(next, SenderStep::Send(Message::File(info("B", b"b"))));
    assert_eq!(client.refused(), [(0, Outcome::SizeConflict)]);
    let past = client.receive(&Message::Resume { held: 2, outcome: Outcome::Done });
    assert_eq!(past, Err(TransportFault::Size), "more than the file has");
}

#[test]
fn any_bytes_are_frames_and_messages_or_refused() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut decoder = Decoder::default();
        decoder.push(bytes);
        while let Ok(Some(frame)) = decoder.next(&NoMac) {
            let _ = Message::decode(&frame.body);
        }
        if let Ok(message) = Message::decode(bytes) {
            // The digest of a file may be written in two ways; all else in one.
            let again = message.encode().unwrap();
            assert_eq!(Message::decode(&again), Ok(message.clone()));
            assert!(again == bytes || matches!(message, Message::File(_)));
        }
    });
}

proptest! {
    /// However a stream is cut on its way, the frames that come out are those that went in.
    #[test]
    fn a_stream_in_any_pieces_gives_the_same_frames(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6),
        cuts in prop::collection::vec(1usize..200, 1..30),
    ) {
        let frames: Vec<Frame> = (0..)
            .zip(&bodies)
            .map(|(number, body)| Frame { sync: SyncBlock::numbered(number), body: body.clone() })
            .collect();
        let stream: Vec<u8> = frames.iter().flat_map(|frame| frame.encode(&Sum).unwrap()).collect();
        let mut decoder = Decoder::default();
        let mut found = Vec::new();
        let mut rest = &stream[..];
        let mut cuts = cuts.into_iter().cycle();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            decoder.push(piece);
            rest = after;
            while let Some(frame) = decoder.next(&Sum).unwrap() {
                found.push(frame);
            }
        }
        prop_assert_eq!(found, frames);
    }

    /// Any messages at any time are answered or refused.
    #[test]
    fn any_order_of_messages_is_answered_or_refused(order in prop::collection::vec(0usize..9, 0..20)) {
        let all = messages();
        let (mut upload, mut download) = (UploadHost::default(), DownloadHost::default());
        let mut client = DownloadClient::new("City", "1", 0);
        client.start();
        for index in order {
            let message = || all[index].0.clone();
            match upload.receive(message()) {
                Ok(ReceiverStep::Who { .. }) => drop(upload.admit(Outcome::Done)),
                Ok(ReceiverStep::File(_)) => drop(upload.resume(0, Outcome::Done)),
                Ok(ReceiverStep::Block { .. }) => drop(upload.stored(Outcome::Done)),
                Ok(ReceiverStep::Whole) => drop(upload.checked(Outcome::Done)),
                Ok(ReceiverStep::Send(_) | ReceiverStep::Done) | Err(_) => {}
            }
            if let Ok(Served::Who { .. }) = download.receive(message()) {
                download.offer(vec![info("CL", b"cleared")], Outcome::Done);
            }
            match client.receive(message()) {
                Ok(ReceiverStep::File(_)) => drop(client.resume(0, Outcome::Done)),
                Ok(ReceiverStep::Block { .. }) => drop(client.stored()),
                Ok(ReceiverStep::Whole) => drop(client.checked(Outcome::Done)),
                Ok(_) | Err(_) => {}
            }
        }
    }
}
