//! SCP80 packets: recorded on cards and published by two other implementations.

use tsm_globalplatform::{
    primitives::{AesKey, DesKey},
    scp80::{
        Ciphering, CommandPacket, CounterCheck, Integrity, Key, Keys, PacketError, ProofOfReceipt,
        ResponsePacket, SecurityParameters, SubmitResponse,
    },
};

use crate::vectors::{Vector, unhex, vectors};

fn keys(vector: &Vector) -> Keys {
    let key = |field: &str| {
        let bytes = unhex(vector.text(field));
        let aes = vector.rest.get("algo_crypt").is_some_and(|algorithm| algorithm == "aes_cbc");
        match bytes.len() {
            0 => Key::TripleDes(DesKey::new([0; 16])),
            _ if aes => Key::Aes(AesKey::from_slice(&bytes).unwrap()),
            _ => Key::TripleDes(DesKey::from_slice(&bytes).unwrap()),
        }
    };
    Keys { ciphering: key("KIC"), integrity: key("KID") }
}

/// The recorded packet with its length in front, which two of the forms leave out.
fn command_packet(vector: &Vector) -> Vec<u8> {
    let packet = unhex(vector.text("command_packet"));
    if vector.id.ends_with("-signed") || vector.id.ends_with("-none") {
        return [&(packet.len() as u16).to_be_bytes()[..], &packet].concat();
    }
    packet
}

#[test]
fn command_packets_read_and_write_back() {
    for vector in vectors("SCP80") {
        let (keys, recorded) = (keys(&vector), command_packet(&vector));
        let packet = CommandPacket::decode(&recorded, &keys).unwrap_or_else(|e| panic!("{}: {e}", vector.id));
        assert_eq!(hex::encode_upper(&packet.data), vector.text("apdu"), "{}", vector.id);
        assert_eq!(hex::encode_upper(packet.application), vector.text("TAR"), "{}", vector.id);
        assert_eq!(packet.encode(&keys).unwrap(), recorded, "{}", vector.id);
    }
}

#[test]
fn response_packets_read_and_write_back() {
    let mut count = 0;
    for vector in vectors("SCP80") {
        let Some(recorded) = vector.rest.get("response_packet").and_then(|packet| packet.as_str()) else {
            continue;
        };
        let (keys, recorded) = (keys(&vector), unhex(recorded));
        let parameters = CommandPacket::decode(&command_packet(&vector), &keys).unwrap().parameters;
        let packet = ResponsePacket::decode(&recorded, parameters, &keys)
            .unwrap_or_else(|e| panic!("{}: {e}", vector.id));
        assert_eq!((packet.status, hex::encode(&packet.data)), (0, "016132".into()), "{}", vector.id);
        assert_eq!(packet.encode(parameters, &keys).unwrap(), recorded, "{}", vector.id);
        count += 1;
    }
    assert_eq!(count, 4);
}

#[test]
fn a_changed_packet_is_refused() {
    let keys =
        Keys { ciphering: Key::Aes(AesKey::from([3; 16])), integrity: Key::Aes(AesKey::from([4; 16])) };
    let parameters = SecurityParameters {
        counter: CounterCheck::Higher,
        ciphering: Ciphering::Ciphered,
        integrity: Integrity::CryptographicChecksum,
        response: ProofOfReceipt::Required,
        response_ciphering: Ciphering::Ciphered,
        response_integrity: Integrity::CryptographicChecksum,
        response_by_submit: SubmitResponse::Submit,
    };
    let packet = CommandPacket {
        parameters,
        ciphering_index: 2,
        integrity_index: 2,
        application: [0xB0, 0, 1],
        counter: 0x01_0203_0405,
        data: b"commands".to_vec(),
    };
    let written = packet.encode(&keys).unwrap();
    assert_eq!(CommandPacket::decode(&written, &keys), Ok(packet));
    for at in 0..written.len() {
        let mut changed = written.clone();
        changed[at] ^= 0x40;
        assert!(CommandPacket::decode(&changed, &keys).is_err(), "byte {at}");
        assert!(CommandPacket::decode(&written[..at], &keys).is_err(), "cut at {at}");
    }
    assert_eq!(SecurityParameters::parse([0x01, 0x00]), Err(PacketError::Parameters(1, 0)));
}
