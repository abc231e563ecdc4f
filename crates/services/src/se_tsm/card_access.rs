//! Which keys, protocol and level open a domain of a secure element.

use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::SeId;
use tsm_domain::se::Batch;
use tsm_domain::security_domain::ChannelProtocol;
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_iso7816::Aid;
use tsm_keys::{DomainKeySource, DomainPath, KeyReference, KeySetReference, Protocol, SessionRequest};

/// The session with the issuer domain: at the highest level that the card offers, because deletions and
/// records rest on its answers.
pub(super) fn issuer_session(batch: &Batch, se: &SeId) -> Result<SessionRequest, Problem> {
    let domain = batch.issuer_domain;
    let keys = key_source(batch.issuer_keys.as_str(), domain, se)?;
    Ok(session(domain, keys, batch.protocol, batch.issuer_key_version))
}

/// The session with a domain that still has its first keys (B-8.4.1.b). A card that gives a new domain no
/// keys of its own lets its issuer domain's keys open it.
pub(super) fn initial_session(batch: &Batch, domain: Aid, se: &SeId) -> Result<SessionRequest, Problem> {
    let keys = match key_source(batch.initial_domain_keys.as_str(), domain, se)? {
        own @ DomainKeySource::TwoLevel { .. } => own,
        DomainKeySource::Fixed(_) | DomainKeySource::Card { .. } => {
            key_source(batch.issuer_keys.as_str(), batch.issuer_domain, se)?
        }
    };
    Ok(session(domain, keys, batch.protocol, 0))
}

/// Whether a new domain of the batch has keys of its own, which PUT KEY then replaces.
pub(super) fn has_initial_keys(batch: &Batch) -> Result<InitialKeys, Problem> {
    // Any SE and domain will do: only the form of the name matters.
    let se = SeId::new(&[0]).map_err(|_| Problem::new(ProblemCode::Internal))?;
    Ok(match key_source(batch.initial_domain_keys.as_str(), batch.issuer_domain, &se)? {
        DomainKeySource::TwoLevel { .. } => InitialKeys::Own,
        DomainKeySource::Fixed(_) | DomainKeySource::Card { .. } => InitialKeys::OfIssuer,
    })
}

/// Whose keys open a new domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum InitialKeys {
    /// Its own, by two-level diversification.
    Own,
    /// The issuer domain's.
    OfIssuer,
}

fn session(domain: Aid, keys: DomainKeySource, protocol: ChannelProtocol, key_version: u8) -> SessionRequest {
    let (protocol, level) = protocol_and_level(protocol);
    SessionRequest { application: domain, keys, protocol, key_version, level }
}

// GPC amendment D 5.1 and GPC 2.3.1 E.1.1: bit 20 of `i` offers R-MAC, bit 40 of SCP03 R-encryption.
const fn protocol_and_level(protocol: ChannelProtocol) -> (Protocol, SecurityLevel) {
    match protocol {
        ChannelProtocol::Scp02 { i } if i & 0x20 != 0 => {
            (Protocol::Scp02(i), SecurityLevel::C_DECRYPTION_C_MAC_R_MAC)
        }
        ChannelProtocol::Scp02 { i } => (Protocol::Scp02(i), SecurityLevel::C_DECRYPTION_C_MAC),
        ChannelProtocol::Scp03 { i } if i & 0x60 == 0x60 => {
            (Protocol::Scp03(i), SecurityLevel::C_DECRYPTION_R_ENCRYPTION_C_MAC_R_MAC)
        }
        ChannelProtocol::Scp03 { i } if i & 0x20 != 0 => {
            (Protocol::Scp03(i), SecurityLevel::C_DECRYPTION_C_MAC_R_MAC)
        }
        ChannelProtocol::Scp03 { i } => (Protocol::Scp03(i), SecurityLevel::C_DECRYPTION_C_MAC),
    }
}

/// A key's name in a batch: `purpose/owner/label/version` for a root that is diversified in two levels, and
/// `owner/label/version` for a set that cards hold as it is.
pub(super) fn key_source(name: &str, domain: Aid, se: &SeId) -> Result<DomainKeySource, Problem> {
    let unusable = || Problem::because(ProblemCode::Internal, "A key of the batch is named wrongly.");
    if let [owner, label, version] = name.split('/').collect::<Vec<_>>()[..] {
        let version = version.parse().map_err(|_| unusable())?;
        return Ok(DomainKeySource::Fixed(
            KeySetReference::new(owner, label, version).map_err(|_| unusable())?,
        ));
    }
    let root: KeyReference = name.parse().map_err(|_| unusable())?;
    Ok(DomainKeySource::TwoLevel { root, path: DomainPath { domain, se_id: *se } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_the_highest_that_the_options_offer() {
        let level = |protocol| protocol_and_level(protocol).1.value();
        for (i, expected) in [(0x15, 0x03), (0x55, 0x03), (0x35, 0x13), (0x75, 0x13)] {
            assert_eq!(level(ChannelProtocol::Scp02 { i }), expected, "SCP02 i={i:02X}");
        }
        for (i, expected) in
            [(0x00, 0x03), (0x10, 0x03), (0x20, 0x13), (0x30, 0x13), (0x60, 0x33), (0x70, 0x33)]
        {
            assert_eq!(level(ChannelProtocol::Scp03 { i }), expected, "SCP03 i={i:02X}");
        }
    }

    #[test]
    fn a_key_name_says_how_the_keys_are_found() {
        let (aid, se) = (Aid::constant(&[0xA0, 0, 0, 1, 0x51]), SeId::new(&[1]).unwrap());
        assert!(matches!(key_source("owner/cards/1", aid, &se), Ok(DomainKeySource::Fixed(_))));
        let root = key_source("domain-root/owner/cards/1", aid, &se);
        assert!(matches!(root, Ok(DomainKeySource::TwoLevel { .. })));
        for name in ["", "a", "a/b", "a/b/c", "x/y/z/1", "domain-root/a/b/c"] {
            assert!(key_source(name, aid, &se).is_err(), "{name}");
        }
    }
}
