//! The first keys of a new security domain (decision D-40).

use tsm_globalplatform::diversification::{Factor, two_level_aes, two_level_des};
use tsm_globalplatform::key::KeyComponent;
use tsm_globalplatform::primitives::{AesKey, DesKey};
use tsm_iso7816::{Aid, StatusWord};

use super::Key;
use crate::open::Open;
use crate::open::registry::EntryId;
use crate::open::settings::InitialKeys;
use crate::profile::Protocol;

impl Open {
    /// The keys that a new security domain `aid` begins with; none where it uses those of the
    /// domain above it.
    pub(crate) fn initial_keys(&self, aid: &Aid) -> Result<Vec<Key>, StatusWord> {
        let InitialKeys::Derived { version, protocol, roots } = &self.settings.initial_keys else {
            return Ok(Vec::new());
        };
        let se_id = self.domain_data(EntryId::ISSUER_DOMAIN).objects.get(&0x0044);
        let first = Factor::rightmost(aid.as_bytes());
        let second = Factor::rightmost(se_id.map_or(&[][..], Vec::as_slice));
        let keys = (1..).zip(roots).map(|(id, root)| {
            let value = derive(*protocol, root, first, second)?;
            let component = KeyComponent { key_type: protocol.key_type(), value };
            Some(Key { version: *version, id, components: vec![component] })
        });
        keys.collect::<Option<Vec<_>>>().ok_or(StatusWord::EXECUTION_ERROR)
    }
}

fn derive(protocol: Protocol, root: &[u8], first: Factor, second: Factor) -> Option<Vec<u8>> {
    Some(match protocol {
        Protocol::Scp02 => two_level_des(&DesKey::from_slice(root).ok()?, first, second).as_bytes().to_vec(),
        Protocol::Scp03 => two_level_aes(&AesKey::from_slice(root).ok()?, first, second).as_bytes().to_vec(),
    })
}
