//! Full-size command wraps per second, beside what the primitives alone allow.
//!
//! For each protocol and level, `wrap` is a whole command of 255 bytes once wrapped, and `primitives`
//! the MAC and encryption of the same bytes with key schedules ready.

use std::hint::black_box;

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use tsm_globalplatform::{
    SecurityLevel,
    primitives::{Aes, AesCmac, AesKey, DesKey, TripleDes},
    scp02, scp03,
};
use tsm_iso7816::{Aid, CommandApdu};

const APPLICATION: Aid = Aid::constant(&[0xA0, 0, 0, 1, 0x51, 0, 0, 0]);

/// The most data whose wrapped command has 255 bytes: the MAC and, if need be, padding come on top.
const fn full_size(level: SecurityLevel, block: usize) -> usize {
    if level.has_c_decryption() { (255 - 8) / block * block - 1 } else { 255 - 8 }
}

fn command(length: usize) -> CommandApdu {
    CommandApdu::new(0x80, 0xE8, 0x00, 0x00).with_data(vec![0xA5; length])
}

fn scp02_session(level: SecurityLevel) -> scp02::host::Session {
    let keys = || {
        let key = |byte| DesKey::new([byte; 16]);
        scp02::StaticKeys { enc: key(1), mac: key(2), dek: key(3) }
    };
    let implementation = scp02::Implementation::I15;
    let challenge = [7; 8];
    let static_keys = keys();
    let card = scp02::card::CardParameters {
        keys: &static_keys,
        key_version: 1,
        implementation,
        diversification_data: [0; 10],
        sequence_counter: 1,
        application: APPLICATION,
        random: [9; 6],
    };
    let (_, answer) = scp02::card::Handshake::begin(&card, &challenge);
    let (host, _) = scp02::host::Handshake::begin(keys(), implementation, 0, challenge);
    host.finish(&answer.to_bytes(), level).expect("the card has these keys").0
}

fn scp03_session(level: SecurityLevel) -> scp03::host::Session {
    let keys = || {
        let key = |byte| AesKey::from([byte; 16]);
        scp03::StaticKeys { enc: key(1), mac: key(2), dek: key(3) }
    };
    let implementation = scp03::Implementation::I00;
    let static_keys = keys();
    let card = scp03::card::CardParameters {
        keys: &static_keys,
        key_version: 1,
        implementation,
        diversification_data: [0; 10],
        sequence_counter: 1,
        application: APPLICATION,
        random: [9; 16],
    };
    let (_, answer) = scp03::card::Handshake::begin(&card, &[7; 8]).expect("the challenge has eight bytes");
    let (host, _) = scp03::host::Handshake::begin(keys(), implementation, 0, &[7; 8])
        .expect("the challenge has eight bytes");
    host.finish(&answer.to_bytes(), level).expect("the card has these keys").0
}

fn scp02(group: &mut BenchmarkGroup<'_, WallTime>, level: SecurityLevel) {
    let mut session = scp02_session(level);
    let command = command(full_size(level, 8));
    group.bench_function(format!("scp02/{level}/wrap"), |bench| {
        bench.iter(|| session.wrap(black_box(&command)).expect("the command fits"));
    });
    let cipher = TripleDes::new(&DesKey::new([1; 16]));
    let mut data = command.data.clone();
    let padded = (data.len() + 1).next_multiple_of(8);
    group.bench_function(format!("scp02/{level}/primitives"), |bench| {
        bench.iter(|| {
            // Five header bytes are under the MAC too.
            data.resize(command.data.len() + 5, 0);
            let icv = cipher.encrypt_single(&[1; 8]);
            let mac = cipher.retail_mac(&icv, &[black_box(&data)]);
            if level.has_c_decryption() {
                data.resize(padded, 0);
                cipher.encrypt_cbc(&[0; 8], black_box(&mut data));
            }
            mac
        });
    });
}

fn scp03(group: &mut BenchmarkGroup<'_, WallTime>, level: SecurityLevel) {
    let mut session = scp03_session(level);
    let command = command(full_size(level, 16));
    group.bench_function(format!("scp03/{level}/wrap"), |bench| {
        bench.iter(|| session.wrap(black_box(&command)).expect("the command fits"));
    });
    let key = AesKey::from([1; 16]);
    let (aes, mut cmac) = (Aes::new(&key), AesCmac::new(&key));
    let encrypted = if level.has_c_decryption() { command.data.len() + 1 } else { command.data.len() };
    // Chaining value and header are under the MAC too.
    let mut data = vec![0xA5; 16 + 5 + encrypted];
    group.bench_function(format!("scp03/{level}/primitives"), |bench| {
        bench.iter(|| {
            if level.has_c_decryption() {
                let icv = aes.encrypt_block(black_box(&[1; 16]));
                aes.encrypt_cbc(&icv, black_box(&mut data[21..]));
            }
            cmac.mac(&[black_box(&data)])
        });
    });
}

fn secure_channel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wrap");
    group.throughput(Throughput::Elements(1));
    for level in [SecurityLevel::C_MAC, SecurityLevel::C_DECRYPTION_C_MAC] {
        scp02(&mut group, level);
        scp03(&mut group, level);
    }
    group.finish();
}

criterion_group!(benches, secure_channel);
criterion_main!(benches);
