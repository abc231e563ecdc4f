use proptest::prelude::*;
use tsm_iso7816::{CommandApdu, StatusWord};

use super::*;
use crate::{
    Amount, CardRandom, CommandError, DateTime, KeyIndex, KeyVersion, Mac, OfflineCounter, OnlineCounter,
    OverdraftLimit, Sfi, Tac, TerminalNumber, TerminalSequence, TransactionSequence, TransactionType,
    file::RecordId,
};

const TERMINAL: TerminalNumber = TerminalNumber::new([0x09, 0x99, 0x00, 0x00, 0x00, 0x42]);
const AT: DateTime = DateTime::from_bytes([0x20, 0x24, 0x12, 0x29, 0x14, 0x17, 0x40]);

fn parsed(apdu: &CommandApdu) -> PurseCommand {
    PurseCommand::try_from(&CommandApdu::parse(&apdu.to_bytes().unwrap()).unwrap()).unwrap()
}

/// What the command is on the wire, and that the card reads the same command back.
macro_rules! check {
    ($variant:ident, $command:expr, $bytes:literal) => {{
        let command = $command;
        let apdu = command.to_apdu();
        assert_eq!(hex::encode_upper(apdu.to_bytes().unwrap()), $bytes);
        assert_eq!(parsed(&apdu), PurseCommand::$variant(command));
    }};
}

/// Source: command forms seen in T-Union terminals' code and logs.
#[test]
fn commands_are_what_terminals_send() {
    check!(GetBalance, GetBalance { kind: BalanceKind::Usable }, "805C000204");
    check!(GetBalance, GetBalance { kind: BalanceKind::Purse }, "805C030204");
    let (key_index, amount, terminal) = (KeyIndex::FIRST, Amount::from_fen(500), TERMINAL);
    let load = InitializeForLoad { key_index, amount, terminal };
    check!(InitializeForLoad, load, "805000020B01000001F409990000004210");
    let unload = InitializeForUnload { key_index, amount, terminal };
    check!(InitializeForUnload, unload, "805005020B01000001F409990000004210");
    let purchase = InitializeForPurchase { kind: PurchaseKind::Simple, key_index, amount, terminal };
    check!(InitializeForPurchase, purchase, "805001020B01000001F40999000000420F");
    let purchase = InitializeForPurchase { kind: PurchaseKind::Composite, ..purchase };
    check!(InitializeForPurchase, purchase, "805003020B01000001F40999000000420F");
    let overdraft = InitializeForOverdraft { key_index, terminal };
    check!(InitializeForOverdraft, overdraft, "80500402070109990000004213");
    let mac = Mac::new([1, 2, 3, 4]);
    check!(CreditForLoad, CreditForLoad { at: AT, mac2: mac }, "805200000B202412291417400102030404");
    check!(DebitForUnload, DebitForUnload { at: AT, mac2: mac }, "805403000B202412291417400102030404");
    let debit = DebitForPurchase { terminal_sequence: TerminalSequence::new(0x1234), at: AT, mac1: mac };
    check!(DebitForPurchase, debit, "805401000F00001234202412291417400102030408");
    let new_limit = OverdraftLimit::from_fen(0x0B_B8).unwrap();
    let update = UpdateOverdraftLimit { new_limit, at: AT, mac2: mac };
    check!(UpdateOverdraftLimit, update, "805800000E000BB8202412291417400102030404");
    let proof = GetTransactionProof {
        transaction_type: TransactionType::CompositePurchase,
        sequence: TransactionSequence::new(0x042E),
    };
    check!(GetTransactionProof, proof, "805A000902042E08");
    check!(ReadBinary, ReadBinary { sfi: Sfi::HOLDER, offset: 0, length: Some(6) }, "00B0960006");
    check!(ReadRecord, ReadRecord::number(Sfi::TRANSACTION_LOG, 1), "00B201C400");
    check!(GetChallenge, GetChallenge::Four, "0084000004");
    check!(GetChallenge, GetChallenge::Eight, "0084000008");
    let cache = UpdateCappDataCache { record: 1, sfi: Sfi::TRANSIT_RECORDS, data: vec![0xAB] };
    check!(UpdateCappDataCache, cache, "80DC01D001AB");
    check!(UpdateCappDataCache, UpdateCappDataCache::history(vec![0xAB]), "80DC00F001AB");
    let pin = Pin::new(&[0x12, 0x34, 0x56]).unwrap();
    check!(VerifyPin, VerifyPin { pin: pin.clone() }, "0020000003123456");
    let change = ChangePin { old: pin.clone(), new: Pin::new(&[0x65, 0x43]).unwrap() };
    check!(ChangePin, change, "805E010006123456FF6543");
    check!(ReloadPin, ReloadPin { new: pin, mac }, "805E00000712345601020304");
    let external = ExternalAuthenticate { key_index: KeyIndex(0), cryptogram: [7; 8] };
    check!(ExternalAuthenticate, external, "00820000080707070707070707");
    check!(InternalAuthenticate, InternalAuthenticate { challenge: [7; 8] }, "0088000008070707070707070708");
    assert_eq!(UpdateCappDataCache::transit_record(RecordId::RAIL, vec![1]).to_apdu().p1, 1);
}

fn check_secured<C>(command: C, plain: CommandApdu, bytes: &str)
where
    C: for<'a> TryFrom<&'a CommandApdu, Error = CommandError> + PartialEq + core::fmt::Debug,
{
    let mut apdu = plain;
    apdu.data.extend([1, 2, 3, 4]);
    assert_eq!(hex::encode_upper(apdu.to_bytes().unwrap()), bytes);
    let secured = Secured::<C>::try_from(&apdu).unwrap();
    assert_eq!(secured.unverified(), &command);
    assert_eq!(secured.mac, Mac::new([1, 2, 3, 4]));
    PurseCommand::try_from(&apdu).unwrap();
}

#[test]
fn commands_with_a_mac_are_what_terminals_send() {
    let block = ApplicationBlock { kind: BlockKind::Temporary };
    check_secured(block, block.to_apdu(), "841E00000401020304");
    let block = ApplicationBlock { kind: BlockKind::Permanent };
    check_secured(block, block.to_apdu(), "841E00010401020304");
    check_secured(ApplicationUnblock, ApplicationUnblock.to_apdu(), "841800000401020304");
    check_secured(CardBlock, CardBlock.to_apdu(), "841600000401020304");
    let unblock = UnblockPin { enciphered_pin: vec![9; 8] };
    check_secured(unblock.clone(), unblock.to_apdu(), "842400010C090909090909090901020304");
    let binary = UpdateBinary { sfi: Sfi::MANAGEMENT, offset: 8, data: vec![0, 1, 0] };
    check_secured(binary.clone(), binary.to_apdu(), "04D697080700010001020304");
    let record =
        UpdateRecord { sfi: Sfi::TRANSIT_RECORDS, record: RecordReference::Number(1), data: vec![5] };
    check_secured(record.clone(), record.to_apdu(), "04DC01D4050501020304");
    let record = UpdateRecord { record: RecordReference::Id(1), ..record };
    check_secured(record.clone(), record.to_apdu(), "04DC01D0050501020304");
    let append = AppendRecord { sfi: Sfi::TRANSIT_HISTORY, data: vec![5] };
    check_secured(append.clone(), append.to_apdu(), "04E200F0050501020304");
}

#[test]
fn a_command_on_another_channel_is_the_same_command() {
    let on = |cla| CommandApdu { cla, ..GetBalance { kind: BalanceKind::Usable }.to_apdu() };
    for cla in [0x80, 0x81, 0x83, 0xC0, 0xCF] {
        assert_eq!(GetBalance::try_from(&on(cla)), Ok(GetBalance { kind: BalanceKind::Usable }));
    }
    let mut secured = ApplicationUnblock.to_apdu();
    secured.data = vec![1, 2, 3, 4];
    for cla in [0x84, 0x86, 0xE3] {
        let secured =
            Secured::<ApplicationUnblock>::try_from(&CommandApdu { cla, ..secured.clone() }).unwrap();
        assert_eq!(secured.header, [0x84, 0x18, 0, 0]);
    }
}

#[test]
fn what_is_not_a_command_names_its_status_word() {
    let refused = |bytes: &str| {
        let apdu = CommandApdu::parse(&hex::decode(bytes).unwrap()).unwrap();
        PurseCommand::try_from(&apdu).unwrap_err().status_word()
    };
    assert_eq!(refused("805C040204"), StatusWord::INCORRECT_P1_P2);
    assert_eq!(refused("805C000104"), StatusWord::INCORRECT_P1_P2);
    assert_eq!(refused("805000020A01000001F4099900000010"), StatusWord::WRONG_LENGTH);
    assert_eq!(refused("80FE000000"), StatusWord::INSTRUCTION_NOT_SUPPORTED);
    assert_eq!(refused("205C000204"), StatusWord::CLASS_NOT_SUPPORTED);
    assert_eq!(refused("841E000003010203"), StatusWord::WRONG_LENGTH);
    assert_eq!(refused("841E000005FF01020304"), StatusWord::WRONG_LENGTH);
    assert_eq!(refused("805E010003123456"), StatusWord::WRONG_DATA);
    assert_eq!(refused("00B0160006"), StatusWord::INCORRECT_P1_P2);
    assert_eq!(refused("00B201FC00"), StatusWord::INCORRECT_P1_P2);
    assert_eq!(refused("0084000005"), StatusWord::WRONG_LENGTH);
    assert_eq!(refused("002000000112"), StatusWord::WRONG_LENGTH);
}

#[test]
fn answers_have_their_published_layout() {
    // Source: the answers of the project's worked example.
    let load = InitializeForLoadResponse {
        balance: Amount::from_fen(3000),
        counter: OnlineCounter::new(0x29),
        key_version: KeyVersion(1),
        algorithm: 0,
        random: CardRandom::new([0xA1, 0xB2, 0xC3, 0xD4]),
        mac1: Mac::new([0xB9, 0xDA, 0x1C, 0xB5]),
    };
    assert_eq!(hex::encode_upper(load.encode()), "00000BB800290100A1B2C3D4B9DA1CB5");
    let purchase = InitializeForPurchaseResponse {
        balance: Amount::from_fen(8000),
        counter: OfflineCounter::new(0x042C),
        overdraft_limit: OverdraftLimit::NONE,
        key_version: KeyVersion(1),
        algorithm: 0,
        random: CardRandom::new([0x55, 0x66, 0x77, 0x88]),
    };
    assert_eq!(hex::encode_upper(purchase.encode()), "00001F40042C000000010055667788");
    let (mac2, tac) = (Mac::new([0x0F, 0x38, 0xDD, 0x80]), Tac::new([0x03, 0xF5, 0xE0, 0x52]));
    assert_eq!(hex::encode_upper(DebitForPurchaseResponse { tac, mac2 }.encode()), "03F5E0520F38DD80");
    assert_eq!(hex::encode_upper(TransactionProof { mac2, tac }.encode()), "0F38DD8003F5E052");
}

proptest! {
    #[test]
    fn answers_are_lossless(bytes in prop::collection::vec(any::<u8>(), 19)) {
        prop_assert_eq!(&InitializeForLoadResponse::decode(&bytes[..16]).unwrap().encode()[..], &bytes[..16]);
        prop_assert_eq!(&InitializeForUnloadResponse::decode(&bytes[..16]).unwrap().encode()[..], &bytes[..16]);
        prop_assert_eq!(&InitializeForPurchaseResponse::decode(&bytes[..15]).unwrap().encode()[..], &bytes[..15]);
        prop_assert_eq!(&InitializeForOverdraftResponse::decode(&bytes).unwrap().encode()[..], &bytes[..]);
        prop_assert_eq!(&DebitForPurchaseResponse::decode(&bytes[..8]).unwrap().encode()[..], &bytes[..8]);
        prop_assert_eq!(&TransactionProof::decode(&bytes[..8]).unwrap().encode()[..], &bytes[..8]);
        prop_assert_eq!(&CreditForLoadResponse::decode(&bytes[..4]).unwrap().encode()[..], &bytes[..4]);
        prop_assert_eq!(&DebitForUnloadResponse::decode(&bytes[..4]).unwrap().encode()[..], &bytes[..4]);
        prop_assert_eq!(&UpdateOverdraftLimitResponse::decode(&bytes[..4]).unwrap().encode()[..], &bytes[..4]);
        prop_assert_eq!(&GetBalanceResponse::decode(&bytes[..4]).unwrap().encode()[..], &bytes[..4]);
        prop_assert!(InitializeForLoadResponse::decode(&bytes[..15]).is_err());
        prop_assert!(GetBalanceResponse::decode(&bytes[..3]).is_err());
    }
}

#[test]
fn parsers_never_panic() {
    bolero::check!().for_each(|bytes| {
        if let Ok(apdu) = CommandApdu::parse(bytes) {
            let _ = PurseCommand::try_from(&apdu);
        }
        let _ = InitializeForLoadResponse::decode(bytes);
        let _ = InitializeForOverdraftResponse::decode(bytes);
        let _ = DebitForPurchaseResponse::decode(bytes);
    });
}
