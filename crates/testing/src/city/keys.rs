//! The key ceremony of a simulated city: every root drawn from the seed and given to who needs it.

use std::sync::{Arc, LazyLock};

use p256::ecdsa::SigningKey;
use p256::pkcs8::EncodePrivateKey as _;
use sha2::{Digest as _, Sha256};
use tsm_api::HexBytes;
use tsm_api::client::Signing;
use tsm_api::payment::PaymentSignature;
use tsm_api::signature::{MessageVerifier, SoftwareSigner};
use tsm_capfile::{CapBuilder, CapFile, Descriptor};
use tsm_domain::environment::{Clock, Entropy};
use tsm_epurse::mifare::CARD_MANAGER_AID;
use tsm_epurse::select::PPSE_AID;
use tsm_epurse::{Algorithm, IssuerFactor, Key, KeyRole, KeyVersion};
use tsm_globalplatform::privileges::Privileges;
use tsm_iso7816::Aid;
use tsm_keys::{
    DomainKey, KeyAlgorithm, KeyPurpose, KeyReference, KeyService as _, KeySetReference, SoftwareKeyService,
};
use tsm_se::applets;
use tsm_se::memory::LoadFileLibrary;
use tsm_se::open::registry::CodeMemory;
use tsm_se::open::settings::InitialKeys;
use tsm_se::profile::{PresetInstance, PresetLoadFile, Profile, Protocol, secure_channel_keys};
use tsm_services::payment::message::{RegisteredKey, draw_key};
use tsm_services::payment_sandbox;
use tsm_services::purse::PurseKeys;
use tsm_services::server::Peer;
use tsm_terminal::RootKeys;
use zeroize::Zeroizing;

use super::random::Random;
use super::terminals;

/// The transit card's instance.
pub const TRANSIT: Aid =
    Aid::constant(&[0xA0, 0, 0, 6, 0x32, 1, 1, 5, 0x10, 0, 0x09, 0x99, 0, 0x01, 0, 0x01]);
/// The package of the transit purse.
pub const TRANSIT_PACKAGE: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, 0x01]);
/// The issuer factor of the city's cards. Invented.
pub const ISSUER_FACTOR: IssuerFactor = IssuerFactor::new([0x09, 0x99, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
/// What the city's card numbers begin with. Invented.
pub const NUMBER_PREFIX: &str = "31049990";
/// The key version of the issuer domains.
pub const CARD_KEY_VERSION: u8 = 0x30;
/// The key version of the card issuer's domain.
pub const DOMAIN_KEY_VERSION: u8 = 0x31;

/// The payment platform's name in key references.
pub const PLATFORM: &str = "platform";

/// The shop's number at the payment platform, and its name in key references. Invented.
pub const SHOP: &str = "lantern-shop";

const OPERATOR: &str = "operator";
const CENTRE: &str = "clearing-centre";
const ISSUER: &str = "harbour-transit";
/// Bytes of code in the purse's package: few, so that two thousand downloads are quick.
const CODE_BYTES: usize = 300;

/// Every key of the city.
pub struct Keys {
    /// The SE-TSM's key service.
    pub se_tsm: SoftwareKeyService,
    /// The SP-TSM's.
    pub sp_tsm: SoftwareKeyService,
    /// The clearing centre's.
    pub clearing: SoftwareKeyService,
    /// The payment platform's.
    pub payment: SoftwareKeyService,
    /// The card issuer's public key for payment messages.
    pub merchant: RegisteredKey,
    /// The payment platform's.
    pub platform: RegisteredKey,
    /// The key service of the shop on the network.
    pub shop: SoftwareKeyService,
    /// Its public key for payment messages.
    pub shop_key: RegisteredKey,
    /// What terminals hold.
    pub terminals: RootKeys,
    /// The CAP file of the purse.
    pub cap: Vec<u8>,
    issuer_domain: [u8; 16],
    first_domain_root: [u8; 16],
    library: LoadFileLibrary,
}

/// An organisation: the fingerprint of its certificate and the key of its messages.
#[derive(Clone)]
pub struct Organisation {
    /// Its institution number.
    pub number: String,
    /// SHA-256 of its client certificate.
    pub certificate: HexBytes,
    /// Its message key.
    pub signer: Arc<SoftwareSigner>,
}

impl Organisation {
    /// An organisation with keys from the seed.
    pub fn new(number: &str, random: &mut Random) -> Self {
        let certificate = HexBytes(Sha256::digest(number.as_bytes()).to_vec());
        Self { number: number.into(), certificate, signer: Arc::new(draw_signer(random)) }
    }

    /// As its partners know it.
    pub fn peer(&self) -> Peer {
        let point = self.signer.public_key();
        Peer {
            institution: self.number.clone(),
            name: self.number.clone(),
            certificate: self.certificate.clone(),
            verifier: MessageVerifier::from_point(point.as_bytes()).expect("its own key is a point"),
        }
    }

    /// How it signs, by this machine's clock.
    pub fn signing(&self, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Signing {
        Signing { institution: self.number.clone(), signer: self.signer.clone(), clock, entropy }
    }
}

impl Keys {
    /// Holds the ceremony.
    pub fn draw(entropy: &Arc<dyn Entropy>, random: &mut Random) -> Self {
        let service = || SoftwareKeyService::in_memory(entropy.clone());
        let (se_tsm, sp_tsm, clearing, payment) = (service(), service(), service(), service());
        let shop = service();
        let scheme = PaymentSignature::Sm2Sm3;
        let merchant = draw_key(&sp_tsm, &merchant_key(), scheme).expect(FITS);
        let platform = payment_sandbox::platform_key(PLATFORM, scheme, 1).expect(FITS);
        let platform = draw_key(&payment, &platform, scheme).expect(FITS);
        let shop_key = draw_key(&shop, &shop_key(), scheme).expect(FITS);
        let issuer_domain = draw(random);
        let first_domain_root = draw(random);
        for key in DomainKey::ALL {
            import(&se_tsm, &card_keys().member(key), KeyAlgorithm::Aes128, &issuer_domain);
        }
        import(&se_tsm, &first_domain_root_name(), KeyAlgorithm::Aes128, &first_domain_root);
        se_tsm.generate(&token_key(), KeyAlgorithm::Aes128).expect(FITS);
        se_tsm.generate(&sealing_key(), KeyAlgorithm::Aes256).expect(FITS);
        clearing.generate(&parked_cards_key(), KeyAlgorithm::Aes256).expect(FITS);
        clearing.generate(&frame_key(), KeyAlgorithm::Aes128).expect(FITS);
        import(&sp_tsm, &domain_root(), KeyAlgorithm::Aes128, &draw::<16>(random));
        let kek = draw::<32>(random);
        import(&se_tsm, &shared_kek(), KeyAlgorithm::Aes256, &kek);
        import(&sp_tsm, &shared_kek(), KeyAlgorithm::Aes256, &kek);
        let mut terminals = RootKeys { purchase: Vec::new(), block: None };
        for role in KeyRole::ALL {
            let value = draw::<16>(random);
            import(&sp_tsm, &purse_keys().root(role), KeyAlgorithm::TripleDes, &value);
            let key = || Key::new(Algorithm::TripleDes, value);
            match role {
                KeyRole::Tac => {
                    import(&clearing, &purse_keys().root(role), KeyAlgorithm::TripleDes, &value);
                }
                KeyRole::Purchase => {
                    // The payment platform is a terminal, too.
                    import(&payment, &purse_keys().root(role), KeyAlgorithm::TripleDes, &value);
                    terminals.purchase.push((KeyVersion(1), key()));
                }
                KeyRole::ApplicationBlock => terminals.block = Some(key()),
                _ => {}
            }
        }
        let cap = CapBuilder::new(TRANSIT_PACKAGE).version(1, 0).applet(applets::TRANSIT_PURSE);
        let cap = cap.padding(CODE_BYTES).build().expect("one applet makes a CAP file");
        let library = LoadFileLibrary::new();
        Self {
            se_tsm,
            sp_tsm,
            clearing,
            payment,
            merchant,
            platform,
            shop,
            shop_key,
            terminals,
            cap,
            issuer_domain,
            first_domain_root,
            library,
        }
    }

    /// The load file data block of the purse.
    pub fn data_block(&self) -> Arc<[u8]> {
        let cap = CapFile::parse(&self.cap).expect("the CAP file was built here");
        cap.load_file_data_block(Descriptor::Omit).into()
    }

    /// A secure element as its maker delivers it: contactless directory, login password and Mifare manager in
    /// ROM.
    pub fn profile(&self, se_id: &[u8]) -> Profile {
        let mut profile = Profile::development(se_id);
        profile.keys = secure_channel_keys(CARD_KEY_VERSION, Protocol::Scp03, &self.issuer_domain);
        profile.default_key_version = CARD_KEY_VERSION;
        let root = self.first_domain_root.to_vec();
        profile.settings.initial_keys = InitialKeys::Derived { version: 1, root };
        profile.library = self.library.clone();
        for (package, module, aid) in rom() {
            profile.load_files.push(PresetLoadFile {
                aid: package,
                version: [1, 0],
                modules: vec![module],
                code_bytes: 0,
                memory: CodeMemory::Rom,
            });
            profile.instances.push(PresetInstance {
                load_file: package,
                module,
                aid,
                domain: None,
                privileges: Privileges::NONE,
                parameters: Vec::new(),
                keys: Vec::new(),
            });
        }
        profile
    }

    /// The library through which the cards share load files.
    pub fn library(&self) -> LoadFileLibrary {
        self.library.clone()
    }
}

const FITS: &str = "the key's name, algorithm and length fit each other";

/// A key for signatures.
fn draw_signer(random: &mut Random) -> SoftwareSigner {
    let mut scalar = Zeroizing::new([0; 32]);
    random.fill(&mut *scalar);
    // Far below the order of P-256, so every draw is a key.
    scalar[0] &= 0x7F;
    let key = SigningKey::from_slice(&*scalar).expect("a number below the order is a key");
    let pem = key.to_pkcs8_pem(p256::pkcs8::LineEnding::LF).expect("a key can be written");
    SoftwareSigner::from_pem(&pem).expect("what was written can be read")
}

/// The key of a terminal's store, and how the centre checks what it signs.
#[derive(Clone)]
pub struct TerminalKey {
    /// Signs the terminal's batches.
    pub signer: SoftwareSigner,
    /// The public half, as it is registered.
    pub verifier: MessageVerifier,
}

/// The keys of the city's terminals, by their place. Their maker gives them to the terminals, whatever the seed, so
/// that a thousand small worlds need not draw them a thousand times.
pub fn terminal_keys() -> &'static [TerminalKey] {
    static KEYS: LazyLock<Vec<TerminalKey>> = LazyLock::new(|| {
        let draw = |index: usize| {
            let signer = draw_signer(&mut Random::new(0, 500 + index as u64));
            let verifier = MessageVerifier::from_point(signer.public_key().as_bytes());
            TerminalKey { verifier: verifier.expect("its own key is a point"), signer }
        };
        (0..terminals::COUNT).map(draw).collect()
    });
    &KEYS
}

/// The key with which the card issuer signs as a merchant.
pub fn merchant_key() -> KeyReference {
    KeyReference::new(KeyPurpose::Message, ISSUER, "merchant", 1).expect(FITS)
}

/// The key with which the shop signs as a merchant.
pub fn shop_key() -> KeyReference {
    KeyReference::new(KeyPurpose::Message, SHOP, "merchant", 1).expect(FITS)
}

/// The applets in ROM: package, module, instance.
pub fn rom() -> [(Aid, Aid, Aid); 3] {
    let package = |number| Aid::new(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 0x01, number]).expect("seven bytes");
    [
        (package(2), applets::PPSE, PPSE_AID),
        (package(3), applets::LOGIN_PASSWORD, applets::LOGIN_PASSWORD),
        (package(4), applets::MIFARE_MANAGER, CARD_MANAGER_AID),
    ]
}

/// The keys of the issuer domains.
pub fn card_keys() -> KeySetReference {
    KeySetReference::new(OPERATOR, "cards", 1).expect("the names are letters")
}

/// The root of the first keys of new domains.
pub fn first_domain_root_name() -> KeyReference {
    name(KeyPurpose::DomainRoot, OPERATOR, "first-domain-keys")
}

/// The key that TOKENs are derived with.
pub fn token_key() -> KeyReference {
    name(KeyPurpose::BindingToken, OPERATOR, "token")
}

/// The key that stored values are sealed with.
pub fn sealing_key() -> KeyReference {
    name(KeyPurpose::Sealing, OPERATOR, "sealing")
}

/// The key that the centre seals the data of parked cards with.
pub fn parked_cards_key() -> KeyReference {
    name(KeyPurpose::Sealing, CENTRE, "parked-cards")
}

/// The key of the frames between the operators of terminals and the centre.
pub fn frame_key() -> KeyReference {
    name(KeyPurpose::ClearingTransport, CENTRE, "terminals")
}

/// The KEK between the operator and the card issuer.
pub fn shared_kek() -> KeyReference {
    name(KeyPurpose::KeyEncryption, ISSUER, "operator")
}

/// The root of the keys of the card issuer's domains.
pub fn domain_root() -> KeyReference {
    name(KeyPurpose::DomainRoot, ISSUER, "domain")
}

/// Where the purses' keys come from.
pub fn purse_keys() -> PurseKeys {
    PurseKeys { owner: ISSUER.into(), label: "city".into(), version: 1, issuer: ISSUER_FACTOR }
}

fn name(purpose: KeyPurpose, owner: &str, label: &str) -> KeyReference {
    KeyReference::new(purpose, owner, label, 1).expect("the names are letters and dashes")
}

fn import(service: &SoftwareKeyService, name: &KeyReference, algorithm: KeyAlgorithm, value: &[u8]) {
    service.import_clear(name, algorithm, Zeroizing::new(value.to_vec())).expect(FITS);
}

fn draw<const N: usize>(random: &mut Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}
