//! DELETE: content and keys (GPC 2.3.1, 11.2 and 9.5).

use tsm_globalplatform::commands::Delete;
use tsm_globalplatform::commands::delete::{DeleteContent, DeleteExtent, DeleteKeys};
use tsm_globalplatform::privileges::Privileges;
use tsm_globalplatform::receipt::Confirmed;
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord, tlv};

use super::Open;
use super::authority::{Authority, Signed};
use super::channels::{Channel, Place};
use super::registry::{CodeMemory, EntryId, Kind};
use super::secure_channel::has_key_set;
use crate::applet::Answer;

impl Open {
    pub(super) fn delete(&mut self, domain: EntryId, place: Place, command: &CommandApdu) -> Answer {
        self.require_management(domain, place)?;
        match Delete::try_from(command).map_err(|error| error.status_word())? {
            Delete::Content(content) => self.delete_content(domain, place, command, &content),
            Delete::Keys(keys) => self.delete_keys(domain, keys),
        }
    }

    fn delete_content(
        &mut self,
        domain: EntryId,
        place: Place,
        command: &CommandApdu,
        content: &DeleteContent,
    ) -> Answer {
        let authority = self.authorize_delete(domain, place, command, content)?;
        let (id, _) = self.registry.find(&content.aid).ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
        let everywhere = self.registry.entry(domain).privileges().contains(Privileges::GLOBAL_DELETE);
        if !everywhere {
            self.require_within(id, domain)?;
        }
        let gone = match content.extent {
            DeleteExtent::Object => vec![id],
            DeleteExtent::ObjectAndRelated => self.with_related(id),
        };
        for id in &gone {
            self.require_deletable(*id, domain, place, &gone)?;
        }
        for id in gone {
            self.leave_everywhere(id, place);
            self.registry_mut().remove(id);
        }
        self.confirm(authority, Confirmed::Delete { object: content.aid })
    }

    /// As for other steps of content management; global delete needs no further right.
    fn authorize_delete(
        &mut self,
        domain: EntryId,
        place: Place,
        command: &CommandApdu,
        content: &DeleteContent,
    ) -> Result<Authority, StatusWord> {
        if self.registry.entry(domain).privileges().contains(Privileges::GLOBAL_DELETE) {
            self.require_personalized(domain)?;
            return Ok(Authority::Authorized);
        }
        // GPC 2.3.1 C.4.7: the token (9E) stands last, and all before it is signed.
        let token = content.token.as_deref().unwrap_or_default();
        let token_object = if content.token.is_some() { tlv::encode(0x9E, token).len() } else { 0 };
        let data = &command.data[..command.data.len().saturating_sub(token_object)];
        self.authorize(domain, place, &Signed { command, data, token })
    }

    /// An entry and what is deleted with it: the instances of a load file; of a security domain,
    /// all that is associated with it, and so on.
    fn with_related(&self, id: EntryId) -> Vec<EntryId> {
        let mut found = vec![id];
        let mut at = 0;
        while let Some(&next) = found.get(at) {
            at += 1;
            let related: Vec<EntryId> = match self.registry.entry(next).kind {
                Kind::LoadFile(_) => self.registry.instances_of(next).map(|(id, _)| id).collect(),
                Kind::SecurityDomain(..) => self.registry.associated_with(next).map(|(id, _)| id).collect(),
                Kind::Application(_) => Vec::new(),
            };
            found.extend(related.into_iter().filter(|id| !found.contains(id)).collect::<Vec<_>>());
        }
        found
    }

    // GPC 2.3.1 9.5.1 and 9.5.2.
    fn require_deletable(
        &self,
        id: EntryId,
        by: EntryId,
        place: Place,
        gone: &[EntryId],
    ) -> Result<(), StatusWord> {
        let referenced = match &self.registry.entry(id).kind {
            Kind::LoadFile(load_file) => {
                load_file.memory == CodeMemory::Rom
                    || self.registry.instances_of(id).any(|(id, _)| !gone.contains(&id))
                    || self.registry.importers_of(id).any(|(id, _)| !gone.contains(&id))
            }
            Kind::SecurityDomain(..) => {
                id == by
                    || id == EntryId::ISSUER_DOMAIN
                    || self.registry.associated_with(id).any(|(id, _)| !gone.contains(&id))
            }
            Kind::Application(_) => false,
        };
        if referenced || self.is_in_use(id, place) {
            Err(StatusWord::CONDITIONS_NOT_SATISFIED)
        } else {
            Ok(())
        }
    }

    /// Whether an application is selected on another channel of this interface, or is in the
    /// middle of something on the other one. Merely having been the last to be selected in a
    /// reader's field does not keep an application on the card.
    fn is_in_use(&self, id: EntryId, place: Place) -> bool {
        self.all_channels().any(|(other, channel)| {
            let concerned = channel.selected == Some(id) || channel.personalising == Some(id);
            let loading = channel.loading.as_ref().is_some_and(|loading| loading.domain == id);
            loading || concerned && (other.interface == place.interface || channel.is_busy())
        })
    }

    /// Leaves channels that had the application selected with nothing selected.
    fn leave_everywhere(&mut self, id: EntryId, place: Place) {
        let places: Vec<Place> = self
            .all_channels()
            .filter(|(_, channel)| channel.selected == Some(id))
            .map(|(place, _)| place)
            .collect();
        for other in places.into_iter().filter(|other| *other != place) {
            *self.channel_mut(other) = Channel::selecting(None);
        }
    }

    // GPC 2.3.1 11.2.2.3.2. The last key set of a domain above which there is none stays: without
    // it nobody could talk to the card any more.
    fn delete_keys(&mut self, domain: EntryId, which: DeleteKeys) -> Answer {
        let data = self.registry_mut().domain_mut(domain);
        let chosen: Vec<(u8, u8)> = data
            .keys
            .iter()
            .filter(|key| which.version.is_none_or(|version| version == key.version))
            .filter(|key| which.identifier.is_none_or(|id| id == key.id))
            .map(|key| (key.version, key.id))
            .collect();
        if chosen.is_empty() {
            return Err(StatusWord::REFERENCED_DATA_NOT_FOUND);
        }
        for (version, id) in chosen {
            data.keys.remove(version, id);
        }
        if domain == EntryId::ISSUER_DOMAIN && !has_key_set(&data.keys) {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        Ok(ResponseApdu::success([0x00]))
    }
}
