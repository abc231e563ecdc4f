//! The key ceremony of a city on this machine: draws every root once and takes it to the key
//! services that need it. In production each organisation holds its own ceremony and exchanges keys
//! under a KEK; here one program plays all the officers.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tsm_api::payment::PaymentSignature;
use tsm_domain::environment::Entropy;
use tsm_epurse::mifare::CARD_MANAGER_AID;
use tsm_epurse::select::PPSE_AID;
use tsm_epurse::{IssuerFactor, KeyRole};
use tsm_globalplatform::Privileges;
use tsm_iso7816::Aid;
use tsm_keys::software::{OpenError, Passphrase, PassphraseCost};
use tsm_keys::{
    DomainKey, KeyAlgorithm, KeyError, KeyPurpose, KeyReference, KeyService as _, KeySetReference,
    SoftwareKeyService,
};
use tsm_se::open::registry::CodeMemory;
use tsm_se::profile::{PresetInstance, PresetLoadFile, Profile, Protocol, secure_channel_keys};
use tsm_services::payment::message::{MessageKeyError, draw_key};
use tsm_services::payment_sandbox;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::plan::{CityPlan, PaymentKeys, Role, ShopPlan};
use crate::packages::{self, Package};

/// The operator's name in key references.
pub const OPERATOR: &str = "operator";
/// The clearing centre's name in key references.
pub const CENTRE: &str = "clearing-centre";
/// The card issuer's name in key references. Invented.
pub const ISSUER: &str = "harbour-transit";
/// The city's shop: its number at the payment platform, and its name in key references. Invented.
pub const SHOP: &str = "lantern-shop";
/// The issuer factor of its cards. Invented: no issuer has these digits.
pub const ISSUER_FACTOR: IssuerFactor = IssuerFactor::new([0x09, 0x99, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF]);
/// The key version of the issuer domains' keys.
pub const CARD_KEY_VERSION: u8 = 0x30;
/// The key version that the card issuer's domain gets.
pub const DOMAIN_KEY_VERSION: u8 = 0x31;

/// The applets in the ROM of every phone, and the AIDs of their instances.
pub const ROM_APPLETS: [(Package, Aid); 3] = [
    (packages::PPSE, PPSE_AID),
    (packages::LOGIN_PASSWORD, packages::LOGIN_PASSWORD.module),
    (packages::MIFARE_MANAGER, CARD_MANAGER_AID),
];

/// What the maker of the city's secure elements was given.
#[derive(Clone, Serialize, Deserialize)]
pub struct CardMakerKeys {
    issuer_domain: [u8; 16],
    first_domain_root: [u8; 16],
}

/// The purse roots that go into terminals.
pub struct TerminalRoots {
    /// Signs purchases.
    pub purchase: Zeroizing<[u8; 16]>,
    /// Locks cards on the black list.
    pub block: Zeroizing<[u8; 16]>,
}

/// What the city's terminals hold, in the folder of a city on this machine. In the field it is in their PSAMs.
#[derive(Clone, Serialize, Deserialize, ZeroizeOnDrop)]
pub struct TerminalSecrets {
    /// Signs purchases.
    pub purchase: [u8; 16],
    /// Locks cards on the black list.
    pub block: [u8; 16],
    /// Chains what a terminal writes down.
    pub store: [u8; 32],
    /// Sign the terminals' batches, in PEM, in the order of [`super::terminals::numbers`]; some or none in a city of
    /// an earlier version.
    #[serde(default)]
    pub signing: Vec<String>,
}

impl TerminalSecrets {
    /// The roots, and a key for the terminals' stores.
    pub fn new(roots: &TerminalRoots, signing: Vec<String>, entropy: &Arc<dyn Entropy>) -> Self {
        Self { purchase: *roots.purchase, block: *roots.block, store: draw(entropy), signing }
    }
}

/// Why the ceremony failed.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// A key file.
    #[error(transparent)]
    File(#[from] OpenError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key of payment messages.
    #[error(transparent)]
    Payment(#[from] MessageKeyError),
}

/// The set of keys that the issuer domains of a batch hold.
pub fn card_keys() -> KeySetReference {
    KeySetReference::new(OPERATOR, "cards", 1).expect("the names are letters")
}

/// The root of the first keys of new domains (B-8.4.1.b).
pub fn first_domain_root() -> KeyReference {
    reference(KeyPurpose::DomainRoot, OPERATOR, "first-domain-keys")
}

/// The key that TOKENs are derived with (P-5.5.2.s).
pub fn token_key() -> KeyReference {
    reference(KeyPurpose::BindingToken, OPERATOR, "token")
}

/// The key that stored TOKENs are sealed with (P-5.5.2.t).
pub fn sealing_key() -> KeyReference {
    reference(KeyPurpose::Sealing, OPERATOR, "sealing")
}

/// The key that the centre seals the data of parked cards with.
pub fn parked_cards_key() -> KeyReference {
    reference(KeyPurpose::Sealing, CENTRE, "parked-cards")
}

/// The KEK that the operator and the card issuer share.
pub fn shared_kek() -> KeyReference {
    reference(KeyPurpose::KeyEncryption, ISSUER, "operator")
}

/// The root of the keys of the card issuer's domains (D-40).
pub fn issuer_domain_root() -> KeyReference {
    reference(KeyPurpose::DomainRoot, ISSUER, "domain")
}

/// The root of one purse key.
pub fn purse_root(role: KeyRole) -> KeyReference {
    reference(KeyPurpose::Purse(role), ISSUER, "city")
}

/// The key with which the card issuer signs as a merchant.
pub fn merchant_key() -> KeyReference {
    reference(KeyPurpose::Message, ISSUER, "merchant")
}

/// The key with which the clearing centre fetches the card issuer's statements from the payment platform.
pub fn statement_key() -> KeyReference {
    reference(KeyPurpose::Message, ISSUER, "statements")
}

/// The key with which the city's shop signs as a merchant.
pub fn shop_key() -> KeyReference {
    reference(KeyPurpose::Message, SHOP, "merchant")
}

fn reference(purpose: KeyPurpose, owner: &str, label: &str) -> KeyReference {
    KeyReference::new(purpose, owner, label, 1).expect("the names are letters and dashes")
}

/// Draws every key and writes the key files of the plan.
pub fn hold(
    plan: &mut CityPlan,
    entropy: &Arc<dyn Entropy>,
) -> Result<(CardMakerKeys, TerminalRoots), CeremonyError> {
    let passphrase = Passphrase::new(plan.passphrase.clone());
    let file = |path: &Path| SoftwareKeyService::create(path, &passphrase, cost(), entropy.clone());
    let (se_tsm, sp_tsm, clearing) =
        (file(&plan.se_tsm.keys)?, file(&plan.sp_tsm.keys)?, file(&plan.clearing.keys)?);
    let payment = file(&plan.payment.keys)?;
    let maker = CardMakerKeys { issuer_domain: draw(entropy), first_domain_root: draw(entropy) };
    operator_keys(&se_tsm, &maker)?;
    let root = Zeroizing::new(draw::<16>(entropy).to_vec());
    sp_tsm.import_clear(&issuer_domain_root(), KeyAlgorithm::Aes128, root)?;
    let kek = Zeroizing::new(draw::<32>(entropy).to_vec());
    for service in [&se_tsm, &sp_tsm] {
        service.import_clear(&shared_kek(), KeyAlgorithm::Aes256, kek.clone())?;
    }
    let sealing = Zeroizing::new(draw::<32>(entropy).to_vec());
    clearing.import_clear(&parked_cards_key(), KeyAlgorithm::Aes256, sealing)?;
    clearing.generate(&tsm_services::clearing::journal_key(), KeyAlgorithm::EcdsaP256)?;
    let roots = purse_keys(&sp_tsm, &clearing, &payment, entropy)?;
    let shop_file = plan.payment.keys.with_file_name("shop.keys");
    let shop = draw_key(&file(&shop_file)?, &shop_key(), PaymentSignature::Sm2Sm3)?.to_wire();
    let shop = ShopPlan { institution: SHOP.to_owned(), key: shop, keys: shop_file };
    plan.payment_keys = Some(payment_keys(&sp_tsm, &clearing, &payment, shop)?);
    Ok((maker, roots))
}

/// Opens the key file that an earlier ceremony wrote for this role.
pub fn open_keys(
    plan: &CityPlan,
    role: Role,
    entropy: Arc<dyn Entropy>,
) -> Result<SoftwareKeyService, OpenError> {
    let passphrase = Passphrase::new(plan.passphrase.clone());
    SoftwareKeyService::open(&plan.role(role).keys, &passphrase, entropy)
}

/// Opens a key file of this city that belongs to none of its roles.
pub fn open_key_file(
    plan: &CityPlan,
    file: &Path,
    entropy: Arc<dyn Entropy>,
) -> Result<SoftwareKeyService, OpenError> {
    SoftwareKeyService::open(file, &Passphrase::new(plan.passphrase.clone()), entropy)
}

/// Draws the merchant's key and the platform's, and registers each with the other side.
fn payment_keys(
    sp_tsm: &SoftwareKeyService,
    clearing: &SoftwareKeyService,
    payment: &SoftwareKeyService,
    shop: ShopPlan,
) -> Result<PaymentKeys, CeremonyError> {
    let scheme = PaymentSignature::Sm2Sm3;
    let platform =
        payment_sandbox::platform_key(OPERATOR, scheme, 1).expect("the names are letters and dashes");
    let merchant = draw_key(sp_tsm, &merchant_key(), scheme)?.to_wire();
    let statements = draw_key(clearing, &statement_key(), scheme)?.to_wire();
    // Merchants of their own may sign with RSA: the platform answers each with a key of its kind.
    let rsa = payment_sandbox::platform_key(OPERATOR, PaymentSignature::RsaSha256, 1)
        .expect("the names are letters and dashes");
    let platform = vec![
        draw_key(payment, &rsa, PaymentSignature::RsaSha256)?.to_wire(),
        draw_key(payment, &platform, scheme)?.to_wire(),
    ];
    Ok(PaymentKeys { merchant, statements, platform, shop: Some(shop) })
}

fn operator_keys(keys: &SoftwareKeyService, maker: &CardMakerKeys) -> Result<(), KeyError> {
    for key in DomainKey::ALL {
        let value = Zeroizing::new(maker.issuer_domain.to_vec());
        keys.import_clear(&card_keys().member(key), KeyAlgorithm::Aes128, value)?;
    }
    let root = Zeroizing::new(maker.first_domain_root.to_vec());
    keys.import_clear(&first_domain_root(), KeyAlgorithm::Aes128, root)?;
    use tsm_keys::KeyService as _;
    keys.generate(&token_key(), KeyAlgorithm::Aes128)?;
    keys.generate(&sealing_key(), KeyAlgorithm::Aes256).map(drop)
}

/// Draws the purse roots: all of them go to the SP-TSM, the TAC root to the centre, two to terminals. The
/// payment platform is a terminal, too.
fn purse_keys(
    sp_tsm: &SoftwareKeyService,
    clearing: &SoftwareKeyService,
    payment: &SoftwareKeyService,
    entropy: &Arc<dyn Entropy>,
) -> Result<TerminalRoots, KeyError> {
    let mut roots = TerminalRoots { purchase: Zeroizing::default(), block: Zeroizing::default() };
    for role in KeyRole::ALL {
        let value = Zeroizing::new(draw::<16>(entropy));
        let key = || Zeroizing::new(value.to_vec());
        sp_tsm.import_clear(&purse_root(role), KeyAlgorithm::TripleDes, key())?;
        match role {
            KeyRole::Tac => {
                clearing.import_clear(&purse_root(role), KeyAlgorithm::TripleDes, key())?;
            }
            KeyRole::Purchase => {
                payment.import_clear(&purse_root(role), KeyAlgorithm::TripleDes, key())?;
                roots.purchase = value;
            }
            KeyRole::ApplicationBlock => roots.block = value,
            _ => {}
        }
    }
    Ok(roots)
}

/// A new secure element of the city's batch, as its maker delivers it.
pub fn profile(maker: &CardMakerKeys, se_id: &[u8], library: tsm_se::memory::LoadFileLibrary) -> Profile {
    use tsm_se::open::settings::InitialKeys;
    let mut profile = Profile::development(se_id);
    profile.keys = secure_channel_keys(CARD_KEY_VERSION, Protocol::Scp03, &maker.issuer_domain);
    profile.default_key_version = CARD_KEY_VERSION;
    profile.settings.initial_keys =
        InitialKeys::Derived { version: 1, root: maker.first_domain_root.to_vec() };
    profile.library = library;
    with_rom_applets(profile)
}

/// The same profile with what every phone has in ROM: the contactless directory, the login password
/// and the Mifare card manager.
pub fn with_rom_applets(mut profile: Profile) -> Profile {
    for (package, aid) in ROM_APPLETS {
        profile.load_files.push(PresetLoadFile {
            aid: package.aid,
            version: [1, 0],
            modules: vec![package.module],
            code_bytes: 0,
            memory: CodeMemory::Rom,
        });
        profile.instances.push(PresetInstance {
            load_file: package.aid,
            module: package.module,
            aid,
            domain: None,
            privileges: Privileges::NONE,
            parameters: Vec::new(),
            keys: Vec::new(),
        });
    }
    profile
}

/// A city on a laptop is guarded by its folder's rights; the passphrase need not be slow.
const fn cost() -> PassphraseCost {
    PassphraseCost { memory_kib: 1_024, passes: 1, lanes: 1 }
}

fn draw<const N: usize>(entropy: &Arc<dyn Entropy>) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}
