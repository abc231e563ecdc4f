//! Records to store.

use tsm_domain::application::*;
use tsm_domain::bytes::{HexBytes, Sha1Digest, Sha256Digest};
use tsm_domain::card::{CardOrder, CardOrderState, CardRecord, CardState};
use tsm_domain::money::{CardTransaction, LoadProof, Tac, TransactionKey, TransactionType};
use tsm_domain::se::{Batch, IssuerKeyScheme, SeIdRange, SeKind, SeRecord};
use tsm_domain::se_application::{OpeningNeed, PersonalisationNeed, SeApplication, UnlockPolicy};
use tsm_domain::security_domain::*;
use tsm_domain::subscription::{Subscribed, Subscription, SubscriptionState};
use tsm_domain::user::{SealedToken, TokenRecord};
use tsm_domain::{
    CardNumber, ConversationId, DeliveryId, Fen, IncidentId, Msisdn, OrderId, SeId, SubscriptionId,
    TerminalNumber,
};
use tsm_iso7816::Aid;
use tsm_storage::se_tsm::ApplicationOnSe;
use tsm_storage::shared::{
    Begun, ChainKey, Claim, Conversation, Conversations, Delivery, Fence, Incident, Note,
};
use tsm_storage::sp_tsm::{TopUpOrder, TopUpOrderState};

pub(crate) fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).unwrap()
}

pub(crate) fn uuid(n: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(n)
}

pub(crate) fn se(n: u8) -> SeId {
    SeId::new(&[n; 8]).unwrap()
}

pub(crate) fn number(last: u8) -> Msisdn {
    format!("138001380{last:02}").parse().unwrap()
}

pub(crate) fn card_number(n: u64) -> CardNumber {
    CardNumber::compose("31049900", n).unwrap()
}

pub(crate) fn aid(last: u8) -> Aid {
    Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, last])
}

pub(crate) fn order_id(n: u128) -> OrderId {
    OrderId::from_uuid(uuid(n))
}

pub(crate) fn conversation(n: u128, of: SeId) -> Conversation {
    Conversation {
        id: ConversationId::from_uuid(uuid(n)),
        se: of,
        purpose: "download".into(),
        started_at: at(n as i64),
        ended: None,
        server: None,
    }
}

/// The link to an SE, in a conversation of its own.
pub(crate) async fn link(store: &(impl Conversations + ?Sized), n: u128, of: SeId) -> Fence {
    let begun = store.begin_conversation(conversation(n, of), Claim::TakeOver, at(0), at(1_000)).await;
    match begun.unwrap() {
        Begun::Granted(fence) => fence,
        busy @ Begun::Busy { .. } => panic!("a take-over is never busy: {busy:?}"),
    }
}

pub(crate) fn delivery(n: u128, due: i64) -> Delivery {
    Delivery {
        id: DeliveryId::from_uuid(uuid(n)),
        to: "centre".into(),
        kind: "top-up".into(),
        body: "{}".into(),
        created_at: at(0),
        due_at: at(due),
        attempts: 0,
    }
}

pub(crate) fn note(of: SeId, event: &str) -> Note {
    Note {
        chain: ChainKey::Se(of),
        at: at(5),
        actor: "wallet".into(),
        event: event.into(),
        detail: "{}".into(),
    }
}

pub(crate) fn incident(n: u128, second: i64) -> Incident {
    Incident {
        id: IncidentId::from_uuid(uuid(n)),
        se: Some(se(1)),
        card: None,
        kind: "reconciliation".into(),
        text: "the card has an application that the record has not".into(),
        at: at(second),
        closed: None,
    }
}

pub(crate) fn batch(id: &str, first: u8, last: u8) -> Batch {
    Batch {
        id: id.parse().unwrap(),
        segments: vec![SeIdRange { first: se(first), last: se(last) }],
        kind: SeKind::Embedded,
        issuer_domain: Aid::constant(&[0xA0, 0, 0, 0x01, 0x51, 0, 0, 0]),
        protocol: ChannelProtocol::Scp03 { i: 0x70 },
        key_scheme: IssuerKeyScheme::Root,
        issuer_keys: "isd/root".parse().unwrap(),
        issuer_key_version: 0x30,
        initial_domain_keys: "ssd/root".parse().unwrap(),
        chip: "soft".into(),
        platform_version: "1.0".into(),
        java_card_version: "3.0.5".into(),
        initial_space: Space { code: 100_000, data: 50_000, volatile: 4_000 },
        preset_domains: vec![],
        preset_applications: vec![],
    }
}

pub(crate) fn se_record(n: u8) -> SeRecord {
    SeRecord::new(se(n), &batch("B1", 0, 0xFF))
}

pub(crate) fn token(byte: u8) -> TokenRecord {
    TokenRecord::new(SealedToken { sealed: HexBytes(vec![byte; 32]), date: "2026-11-21".parse().unwrap() })
}

/// An application of one load file, one module and one instance, whose AIDs begin at `base`.
pub(crate) fn application(base: u8) -> Application {
    let text = || Names { en: "Card".into(), zh: "交通卡".into() };
    let instance = InstanceRecord {
        aid: aid(base),
        privileges: HexBytes(vec![0; 3]),
        parameters: HexBytes::default(),
        data_space: 200,
        volatile_space: 50,
    };
    let load_file = LoadFileRecord {
        aid: aid(base + 1),
        domain: aid(0xD0),
        sha1: Sha1Digest([1; 20]),
        sha256: Sha256Digest([2; 32]),
        code_space: 1_000,
        memory: MemoryKind::Downloaded,
        dap_signature: None,
        depends_on: vec![],
        modules: vec![ModuleRecord { aid: aid(base + 2), instances: vec![instance] }],
    };
    Application {
        aid: aid(base),
        kind: ApplicationKind::Application,
        names: text(),
        description: text(),
        industry: "transport".into(),
        provider: "CITY".parse().unwrap(),
        domain: aid(0xD0),
        version: ManagedVersion::new(aid(base), "1.0", "20261121").unwrap(),
        state: ManagementState::Initial,
        load_files: vec![load_file],
        space: Space { code: 1_000, data: 200, volatile: 50 },
        java_card_version: "2.2.2".into(),
        platform_version: "1.0".into(),
        batches: BatchSelection::All,
        users: UserSelection::Everybody,
        scope: Scope::Network,
        personalisation: PersonalisationNeed::Needed,
        way: PersonalisationWay::DomainForwards,
        opening: OpeningNeed::NotNeeded,
        deletion_mode: DeletionMode::Full,
        archive_deletion: ArchiveDeletion::NotifyUsers,
        value: ValueBearing::StoredValue,
        unlock: UnlockPolicy::HallOnly,
        channel: ChannelOwner::Issuer,
        renew_on_number_change: PersonalisationNeed::NotNeeded,
        companion_url: None,
        icon: String::new(),
        charging: String::new(),
        recommended: Some(1),
        released_at: Some(at(9)),
    }
}

pub(crate) fn application_on_se(base: u8) -> ApplicationOnSe {
    ApplicationOnSe {
        application: aid(base),
        version: "1.0".into(),
        record: SeApplication::absent(PersonalisationNeed::Needed, OpeningNeed::NotNeeded),
        changed_at: at(3),
        reported_lock: None,
        last_word: None,
        locked_for: None,
    }
}

pub(crate) fn domain(last: u8) -> DomainDefinition {
    DomainDefinition {
        aid: aid(last),
        load_file: Aid::constant(&[0xA0, 0, 0, 0x01, 0x51, 0x53, 0x50]),
        module: Aid::constant(&[0xA0, 0, 0, 0x01, 0x51, 0x53, 0x50, 0x41]),
        provider: "CITY".parse().unwrap(),
        mode: DomainMode::Managed,
        management: ContentManagement::Authorised,
        space: SpaceManagement::NotFixed,
        deletion: DeletionRule::ByCommandOnly,
        key_period_days: 365,
        protocol: ChannelProtocol::Scp03 { i: 0x70 },
        state: DefinitionState::Approved,
    }
}

pub(crate) fn subscription(n: u128, of: SeId, who: Msisdn) -> Subscription {
    Subscription {
        id: SubscriptionId::from_uuid(uuid(n)),
        se: of,
        number: who,
        what: Subscribed::Application(aid(0x30)),
        provider: "CITY".parse().unwrap(),
        since: at(n as i64),
        state: SubscriptionState::Active,
    }
}

pub(crate) fn card_order(n: u128, of: SeId, card: CardNumber) -> CardOrder {
    CardOrder {
        order: order_id(n),
        se: of,
        number: Some(number(1)),
        application: aid(0x30),
        card,
        state: CardOrderState::Accepted,
        created_at: at(n as i64),
    }
}

pub(crate) fn card(of: SeId, card: CardNumber) -> CardRecord {
    CardRecord {
        card,
        se: of,
        instance: aid(0x30),
        order: order_id(1),
        keys: "city/purse".parse().unwrap(),
        key_version: 1,
        algorithm: 0,
        state: CardState::Active,
        proven: None,
        frozen: None,
        closing: None,
        lock: None,
        issued_at: at(1),
    }
}

pub(crate) fn top_up(n: u128, of: SeId, card: CardNumber) -> TopUpOrder {
    TopUpOrder {
        order: order_id(n),
        card,
        se: of,
        amount: Fen::new(5_000),
        created_at: at(n as i64),
        state: TopUpOrderState::AwaitingPayment,
    }
}

pub(crate) fn transaction(card: u64, counter: u16, kind: TransactionType, fen: u64) -> CardTransaction {
    CardTransaction {
        key: TransactionKey { card: card_number(card), counter, kind },
        amount: Fen::new(fen),
        balance_after: None,
        terminal: TerminalNumber::for_attempt(1, 1).unwrap(),
        at: at(i64::from(counter)),
        proof: LoadProof::Tac(Tac([1, 2, 3, 4])),
    }
}
