//! INITIALIZE UPDATE, EXTERNAL AUTHENTICATE, and what a session gives to the commands within it
//! (GPC 2.3.1, chapter 10 and annex E; amendment D).

use tsm_globalplatform::commands::{
    BeginRMacSession, EndRMacSession, ExternalAuthenticate, InitializeUpdate, r_mac_session::EndAction,
};
use tsm_globalplatform::key::KeyType;
use tsm_globalplatform::primitives::{AesKey, DesKey};
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_globalplatform::{scp02, scp03};
use tsm_iso7816::{Aid, CommandApdu, ResponseApdu, StatusWord, tlv};
use zeroize::Zeroizing;

use super::Open;
use super::channels::Place;
use super::registry::EntryId;
use crate::applet::Answer;
use crate::domain::KeyRing;
use crate::domain::session::{Handshake, OpenSession, Session, StartedSession};
use crate::profile::Protocol;

/// A complete set of secure channel keys.
enum KeySet {
    Scp02(scp02::StaticKeys),
    Scp03(scp03::StaticKeys),
}

/// The largest counter that a key set of each protocol has.
const SCP02_COUNTER_MAX: u32 = 0xFFFF;
const SCP03_COUNTER_MAX: u32 = 0x00FF_FFFF;

impl Open {
    /// INITIALIZE UPDATE or EXTERNAL AUTHENTICATE, for the domain `domain` on a channel where
    /// itself or an application of it is selected.
    pub(super) fn open_session(&mut self, domain: EntryId, place: Place, command: &CommandApdu) -> Answer {
        match command.ins {
            InitializeUpdate::INS => self.initialize_update(domain, place, command),
            ExternalAuthenticate::INS => self.external_authenticate(domain, place, command),
            _ => Err(StatusWord::INSTRUCTION_NOT_SUPPORTED),
        }
    }

    fn initialize_update(&mut self, domain: EntryId, place: Place, command: &CommandApdu) -> Answer {
        // Whatever comes of it, the session before is over (GPC 2.3.1 10.2.3).
        self.channel_mut(place).session = Session::None;
        let request = InitializeUpdate::try_from(command).map_err(|error| error.status_word())?;
        let key_holder = self.key_holder(domain).ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
        let data = self.domain_data(key_holder);
        if data.failures >= self.settings.authentication_tries {
            return Err(StatusWord::AUTHENTICATION_METHOD_BLOCKED);
        }
        let (key_version, keys) =
            key_set(&data.keys, request.key_version).ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
        let counter = data.keys.counter(key_version);
        // GPC 2.3.1 E.4.2.3, amendment D 6.2.2.1: a pseudo-random challenge is made from the AID of the
        // application that was selected and uses the domain's services, or the domain's own.
        let application = self.registry.entry(self.channel(place).selected.unwrap_or(domain)).aid;
        let (handshake, response) = match &keys {
            KeySet::Scp02(keys) => self.begin_scp02(application, keys, key_version, counter, &request)?,
            KeySet::Scp03(keys) => {
                let begun = self.begin_scp03(application, keys, key_version, counter, &request)?;
                self.set_counter(key_holder, key_version, counter + 1);
                begun
            }
        };
        let started = StartedSession { domain, key_holder, key_version, handshake };
        self.channel_mut(place).session = Session::Started(Box::new(started));
        Ok(ResponseApdu::success(response))
    }

    fn begin_scp02(
        &mut self,
        application: Aid,
        keys: &scp02::StaticKeys,
        key_version: u8,
        counter: u32,
        request: &InitializeUpdate,
    ) -> Result<(Handshake, Vec<u8>), StatusWord> {
        let host_challenge = request.host_challenge.as_slice().try_into();
        let host_challenge = host_challenge.map_err(|_| StatusWord::WRONG_LENGTH)?;
        let implementation = scp02::Implementation::try_from(self.settings.scp02_i);
        let implementation = implementation.map_err(|_| StatusWord::CONDITIONS_NOT_SATISFIED)?;
        if counter >= SCP02_COUNTER_MAX {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        let mut random = [0; 6];
        self.randomness.fill(&mut random);
        let parameters = scp02::card::CardParameters {
            keys,
            key_version,
            implementation,
            diversification_data: self.diversification_data(),
            sequence_counter: counter as u16,
            application,
            random,
        };
        let (handshake, response) = scp02::card::Handshake::begin(&parameters, host_challenge);
        Ok((Handshake::Scp02(handshake), response.to_bytes()))
    }

    fn begin_scp03(
        &mut self,
        application: Aid,
        keys: &scp03::StaticKeys,
        key_version: u8,
        counter: u32,
        request: &InitializeUpdate,
    ) -> Result<(Handshake, Vec<u8>), StatusWord> {
        let implementation = scp03::Implementation::try_from(self.settings.scp03_i);
        let implementation = implementation.map_err(|_| StatusWord::CONDITIONS_NOT_SATISFIED)?;
        if counter >= SCP03_COUNTER_MAX {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        let mut random = [0; 16];
        self.randomness.fill(&mut random);
        let parameters = scp03::card::CardParameters {
            keys,
            key_version,
            implementation,
            diversification_data: self.diversification_data(),
            sequence_counter: counter,
            application,
            random,
        };
        let begun = scp03::card::Handshake::begin(&parameters, &request.host_challenge);
        let (handshake, response) = begun.map_err(|error| error.status_word())?;
        Ok((Handshake::Scp03(handshake), response.to_bytes()))
    }

    fn external_authenticate(&mut self, domain: EntryId, place: Place, command: &CommandApdu) -> Answer {
        let started = match std::mem::take(&mut self.channel_mut(place).session) {
            Session::Started(started) if started.domain == domain => *started,
            Session::None | Session::Started(_) | Session::Open(_) => {
                return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
            }
        };
        let StartedSession { key_holder, key_version, handshake, .. } = started;
        if self.registry.get(key_holder).is_none() {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        // The failure is written before the host is judged, and taken back after: cutting the power
        // on a wrong guess does not save the guess.
        let before = self.registry.clone();
        self.registry_mut().domain_mut(key_holder).failures =
            before.domain(key_holder).failures.saturating_add(1);
        self.commit(&before).map_err(|_| StatusWord::MEMORY_FAILURE)?;
        match handshake.finish(command) {
            Ok(channel) => {
                let data = self.registry_mut().domain_mut(key_holder);
                data.failures = 0;
                if matches!(channel, crate::domain::session::SecureChannel::Scp02(_)) {
                    let counter = data.keys.counter(key_version);
                    data.keys.set_counter(key_version, counter + 1);
                }
                let session = OpenSession { domain, channel };
                self.channel_mut(place).session = Session::Open(Box::new(session));
                Ok(ResponseApdu::success([]))
            }
            Err(status) => Ok(status.into()),
        }
    }

    /// The domain whose keys open a session with `domain`: itself once it has a complete set, and
    /// until then the nearest domain above it that has one (GPC 2.3.1, 7.5.3).
    fn key_holder(&self, domain: EntryId) -> Option<EntryId> {
        let mut at = domain;
        for _ in 0..=u16::MAX {
            let entry = self.registry.get(at)?;
            if entry.as_domain().is_some_and(|data| key_set(&data.keys, 0).is_some()) {
                return Some(at);
            }
            if entry.domain == at {
                return None;
            }
            at = entry.domain;
        }
        None
    }

    fn set_counter(&mut self, domain: EntryId, key_version: u8, counter: u32) {
        self.registry_mut().domain_mut(domain).keys.set_counter(key_version, counter);
    }

    /// The SE-ID: the object 92 within GET DATA 0044, or its whole value.
    pub(crate) fn se_id(&self) -> &[u8] {
        let value =
            self.domain_data(EntryId::ISSUER_DOMAIN).objects.get(&0x0044).map_or(&[][..], Vec::as_slice);
        tlv::find_one(value, 0x92).unwrap_or(value)
    }

    /// The protocol of the issuer's default keys.
    pub(crate) fn default_protocol(&self) -> Protocol {
        let keys = &self.domain_data(EntryId::ISSUER_DOMAIN).keys;
        if defaults_to_scp03(keys) { Protocol::Scp03 } else { Protocol::Scp02 }
    }

    /// The last ten bytes of the SE-ID, by which hosts find the card's keys.
    fn diversification_data(&self) -> [u8; 10] {
        let se_id = self.se_id();
        let tail = &se_id[se_id.len().saturating_sub(10)..];
        let mut data = [0; 10];
        data[10 - tail.len()..].copy_from_slice(tail);
        data
    }

    // --- Within a session -----------------------------------------------------------------------

    /// The level of the open session of `domain` on a channel; 6982 without one.
    pub(super) fn require_session(&self, domain: EntryId, place: Place) -> Result<SecurityLevel, StatusWord> {
        let session = self.channel(place).session.of(domain);
        session.map(|session| session.channel.level()).ok_or(StatusWord::SECURITY_STATUS_NOT_SATISFIED)
    }

    /// Takes the protection off a command of the session of `domain`. An error ends the session.
    pub(super) fn unwrap_command(
        &mut self,
        domain: EntryId,
        place: Place,
        command: &CommandApdu,
    ) -> Result<CommandApdu, StatusWord> {
        let session = &mut self.channel_mut(place).session;
        let open = session.of_mut(domain).ok_or(StatusWord::SECURITY_STATUS_NOT_SATISFIED)?;
        open.channel.unwrap(command).map_err(|error| {
            *session = Session::None;
            error.status_word()
        })
    }

    /// Protects an answer, where the session of its channel protects answers.
    pub(super) fn protect_response(&mut self, place: Place, response: ResponseApdu) -> ResponseApdu {
        match self.channels_mut(place.interface).get_mut(place.channel).map(|channel| &mut channel.session) {
            Some(Session::Open(session)) => session.channel.wrap(response),
            Some(Session::None | Session::Started(_)) | None => response,
        }
    }

    /// Decrypts sensitive data with the data encryption key of the session.
    pub(super) fn decrypt_sensitive(
        &self,
        domain: EntryId,
        place: Place,
        data: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, StatusWord> {
        let session =
            self.channel(place).session.of(domain).ok_or(StatusWord::SECURITY_STATUS_NOT_SATISFIED)?;
        session.channel.decrypt_sensitive(data).map(Zeroizing::new).ok_or(StatusWord::WRONG_DATA)
    }

    /// BEGIN R-MAC SESSION.
    pub(super) fn begin_r_mac(&mut self, domain: EntryId, place: Place, command: &CommandApdu) -> Answer {
        let request = BeginRMacSession::try_from(command).map_err(|error| error.status_word())?;
        let session = self.channel_mut(place).session.of_mut(domain);
        let session = session.ok_or(StatusWord::SECURITY_STATUS_NOT_SATISFIED)?;
        if session.channel.begin_r_mac(request.protection) {
            Ok(ResponseApdu::success([]))
        } else {
            Err(StatusWord::CONDITIONS_NOT_SATISFIED)
        }
    }

    /// END R-MAC SESSION.
    pub(super) fn end_r_mac(&mut self, domain: EntryId, place: Place, command: &CommandApdu) -> Answer {
        let request = EndRMacSession::try_from(command).map_err(|error| error.status_word())?;
        let session = self.channel_mut(place).session.of_mut(domain);
        let session = session.ok_or(StatusWord::SECURITY_STATUS_NOT_SATISFIED)?;
        match request.action {
            EndAction::End => Ok(ResponseApdu::success(session.channel.end_r_mac())),
            EndAction::ReturnRMac => Err(StatusWord::FUNCTION_NOT_SUPPORTED),
        }
    }

    // --- For applications (GPC 2.3.1, 7.3.2) ----------------------------------------------------

    pub(crate) fn process_security(&mut self, id: EntryId, place: Place, command: &CommandApdu) -> Answer {
        let domain = self.registry.entry(id).domain;
        self.require_domain_services(domain)?;
        self.open_session(domain, place, command)
    }

    pub(crate) fn session_level(&self, id: EntryId, place: Place) -> Option<SecurityLevel> {
        let domain = self.registry.entry(id).domain;
        self.require_domain_services(domain).ok()?;
        self.require_session(domain, place).ok()
    }

    pub(crate) fn unwrap_for(
        &mut self,
        id: EntryId,
        place: Place,
        command: &CommandApdu,
    ) -> Result<CommandApdu, StatusWord> {
        let domain = self.registry.entry(id).domain;
        self.require_domain_services(domain)?;
        self.unwrap_command(domain, place, command)
    }

    pub(crate) fn decrypt_for(
        &mut self,
        id: EntryId,
        place: Place,
        data: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, StatusWord> {
        let domain = self.registry.entry(id).domain;
        self.require_domain_services(domain)?;
        self.decrypt_sensitive(domain, place, data)
    }

    /// A domain that is locked serves no application.
    fn require_domain_services(&self, domain: EntryId) -> Result<(), StatusWord> {
        let entry = self.registry.entry(domain);
        let locked = domain != EntryId::ISSUER_DOMAIN && entry.state() & super::registry::LOCKED != 0;
        if locked { Err(StatusWord::CONDITIONS_NOT_SATISFIED) } else { Ok(()) }
    }
}

/// The complete key set of a version, or the default one for version 00, with its version.
fn key_set(keys: &KeyRing, version: u8) -> Option<(u8, KeySet)> {
    if version != 0 {
        return complete_set(keys, version).map(|set| (version, set));
    }
    let mut candidates = std::iter::once(keys.default_version).chain(keys.iter().map(|key| key.version));
    candidates.find_map(|version| complete_set(keys, version).map(|set| (version, set)))
}

fn complete_set(keys: &KeyRing, version: u8) -> Option<KeySet> {
    let component = |id| match keys.key(version, id)?.components.as_slice() {
        [component] => Some(component),
        _ => None,
    };
    let (enc, mac, dek) = (component(1)?, component(2)?, component(3)?);
    match (enc.key_type, mac.key_type, dek.key_type) {
        (KeyType::DES | KeyType::TRIPLE_DES_CBC, KeyType::DES | KeyType::TRIPLE_DES_CBC, _) => {
            let key = |bytes: &[u8]| DesKey::from_slice(bytes).ok();
            Some(KeySet::Scp02(scp02::StaticKeys {
                enc: key(&enc.value)?,
                mac: key(&mac.value)?,
                dek: key(&dek.value)?,
            }))
        }
        (KeyType::AES, KeyType::AES, KeyType::AES) => {
            let key = |bytes: &[u8]| AesKey::from_slice(bytes).ok();
            Some(KeySet::Scp03(scp03::StaticKeys {
                enc: key(&enc.value)?,
                mac: key(&mac.value)?,
                dek: key(&dek.value)?,
            }))
        }
        _ => None,
    }
}

/// Whether a ring would still open a session.
pub(super) fn has_key_set(keys: &KeyRing) -> bool {
    key_set(keys, 0).is_some()
}

/// Whether a ring has a complete key set for a protocol, 02 or 03.
pub(super) fn offers(keys: &KeyRing, protocol: u8) -> bool {
    keys.iter().any(|key| match complete_set(keys, key.version) {
        Some(KeySet::Scp02(_)) => protocol == scp02::PROTOCOL,
        Some(KeySet::Scp03(_)) => protocol == scp03::PROTOCOL,
        None => false,
    })
}

/// The secure channel counter of the default key set.
pub(super) fn default_counter(keys: &KeyRing) -> u32 {
    key_set(keys, 0).map_or(0, |(version, _)| keys.counter(version))
}

/// Whether the default key set is one of SCP03.
pub(super) fn defaults_to_scp03(keys: &KeyRing) -> bool {
    matches!(key_set(keys, 0), Some((_, KeySet::Scp03(_))))
}
