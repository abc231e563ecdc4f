//! INSTALL [for install], with or without [for make selectable] (GPC 2.3.1, 11.5.2.3.2 and 9.3.6).

use tsm_globalplatform::commands::install::{InstallForInstall, InstallParameters, Selectability};
use tsm_globalplatform::receipt::Confirmed;
use tsm_iso7816::{Aid, CommandApdu, StatusWord};

use crate::applet::Answer;
use crate::domain::{DomainData, FixedSpace};
use crate::open::Open;
use crate::open::authority::{Authority, Signed};
use crate::open::channels::Place;
use crate::open::registry::{ApplicationEntry, Entry, EntryId, Kind, Usability};
use crate::profile::DOMAIN_MODULE;

const INSTALLED: u8 = 0x03;
const SELECTABLE: u8 = 0x07;

impl Open {
    pub(super) fn install_for_install(
        &mut self,
        domain: EntryId,
        place: Place,
        command: &CommandApdu,
        form: &InstallForInstall,
    ) -> Answer {
        let authority = self.authorize(domain, place, &Signed::last_field(command, &form.token))?;
        let combined = self.channel_mut(place).combined.take();
        if form.selectability == Selectability::NowEndingCombined && combined.is_none() {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        let (load_file, module) = self.module_of(domain, form, combined)?;
        if self.registry.find(&form.application).is_some() {
            return Err(StatusWord::FILE_ALREADY_EXISTS);
        }
        self.require_grantable(domain, form.privileges)?;
        let is_domain = form.privileges.is_security_domain();
        if is_domain != (module == DOMAIN_MODULE) {
            return Err(StatusWord::WRONG_DATA);
        }
        let parameters = InstallParameters::parse(&form.parameters).map_err(|error| error.status_word())?;
        self.pass_on_unique_privileges(form.privileges)?;
        let application = self.new_application(domain, form, (load_file, module), &parameters)?;
        let kind = if is_domain {
            Kind::SecurityDomain(application, Box::new(self.new_domain_data(&form.application, &parameters)?))
        } else {
            Kind::Application(application)
        };
        let entry = Entry { aid: form.application, domain, kind };
        let id = self.registry_mut().add(entry).ok_or(StatusWord::NOT_ENOUGH_MEMORY)?;
        if !is_domain {
            let own = parameters.application.unwrap_or_default();
            self.with_applet(id, place, |applet, context| applet.install(context, &own))?;
            self.channel_mut(place).clear_volatile();
        }
        self.drop_idle_applets();
        self.confirm_install(authority, load_file, form.application)
    }

    fn confirm_install(&mut self, authority: Authority, load_file: EntryId, application: Aid) -> Answer {
        let load_file = self.registry.entry(load_file).aid;
        self.confirm(authority, Confirmed::Install { load_file, application })
    }

    /// The load file and module that the command means, usable by `domain`.
    fn module_of(
        &self,
        domain: EntryId,
        form: &InstallForInstall,
        combined: Option<Aid>,
    ) -> Result<(EntryId, Aid), StatusWord> {
        let named =
            form.load_file.or(combined.filter(|_| form.selectability == Selectability::NowEndingCombined));
        let (id, load_file) = match (named, form.module) {
            (Some(aid), _) => self.registry.find_load_file(&aid),
            (None, Some(module)) => self
                .registry
                .iter()
                .filter_map(|(id, entry)| Some((id, entry.as_load_file()?)))
                .find(|(_, load_file)| load_file.modules.contains(&module)),
            (None, None) => None,
        }
        .ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
        let module = match (form.module, load_file.modules.as_slice()) {
            (Some(module), modules) if modules.contains(&module) => module,
            (None, [only]) => *only,
            _ => return Err(StatusWord::REFERENCED_DATA_NOT_FOUND),
        };
        if load_file.usability == Usability::Disabled {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        // A load file serves the domains below the one it belongs to, and those above it.
        let owner = self.registry.entry(id).domain;
        if !self.registry.is_within(domain, owner) && !self.registry.is_within(owner, domain) {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        Ok((id, module))
    }

    fn new_application(
        &self,
        domain: EntryId,
        form: &InstallForInstall,
        (load_file, module): (EntryId, Aid),
        parameters: &InstallParameters,
    ) -> Result<ApplicationEntry, StatusWord> {
        let is_domain = form.privileges.is_security_domain();
        // C7 and C8 are an application's least need; a domain's are its fixed space instead.
        let need = |minimum: Option<u32>, reserved: Option<u32>| {
            if is_domain { reserved.unwrap_or(0) } else { minimum.unwrap_or(0).max(reserved.unwrap_or(0)) }
        };
        let reserved_bytes = need(parameters.non_volatile_data, parameters.non_volatile_reserved);
        let volatile_bytes = need(parameters.volatile_data, parameters.volatile_reserved);
        if reserved_bytes > self.free_for(domain) || volatile_bytes > self.volatile_free_for(domain) {
            return Err(StatusWord::NOT_ENOUGH_MEMORY);
        }
        Ok(ApplicationEntry {
            load_file: Some(load_file),
            module,
            privileges: form.privileges,
            state: match form.selectability {
                Selectability::Later => INSTALLED,
                Selectability::Now | Selectability::NowEndingCombined => SELECTABLE,
            },
            reserved_bytes,
            volatile_bytes,
            implicit_selection: parameters.implicit_selection.iter().map(|one| one.value()).collect(),
            directory: None,
        })
    }

    /// A new security domain: its fixed space, if its parameters ask for one, and its first keys.
    fn new_domain_data(&self, aid: &Aid, parameters: &InstallParameters) -> Result<DomainData, StatusWord> {
        let fixed_space = parameters
            .non_volatile_data
            .map(|non_volatile| FixedSpace { non_volatile, volatile: parameters.volatile_data.unwrap_or(0) });
        let free = self.usage();
        if fixed_space.is_some_and(|space| {
            space.non_volatile > free.non_volatile_free() || space.volatile > free.volatile_free()
        }) {
            return Err(StatusWord::NOT_ENOUGH_MEMORY);
        }
        let mut data = DomainData { fixed_space, ..DomainData::default() };
        for key in self.initial_keys(aid)? {
            data.keys.default_version = key.version;
            data.keys.put(key);
        }
        Ok(data)
    }
}
