//! Registry entries as GET STATUS answers them, in both forms (GPC 2.3.1, 11.4.3.1).

use tsm_iso7816::{
    Aid, AidError,
    tlv::{self, TlvError},
};

use crate::{
    commands::get_status::RegistryScope,
    life_cycle::{
        ApplicationLifeCycle, CardLifeCycle, LifeCycle, LoadFileLifeCycle, SecurityDomainLifeCycle,
        UnknownLifeCycle,
    },
    privileges::{Privileges, PrivilegesLength},
};

/// One entry of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryEntry {
    /// The issuer security domain, a security domain or an application.
    Application(ApplicationEntry),
    /// An executable load file.
    LoadFile(LoadFileEntry),
}

/// The issuer security domain, another security domain or an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationEntry {
    /// 4F.
    pub aid: Aid,
    /// 9F70.
    pub life_cycle: LifeCycle,
    /// C5.
    pub privileges: Privileges,
    /// CF: implicit selection parameters, one byte each.
    pub implicit_selection: Vec<u8>,
    /// C4: the load file it came from.
    pub load_file: Option<Aid>,
    /// CC: the security domain it belongs to.
    pub security_domain: Option<Aid>,
}

/// An executable load file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadFileEntry {
    /// 4F.
    pub aid: Aid,
    /// 9F70.
    pub life_cycle: LoadFileLifeCycle,
    /// CE: its version, as the file says.
    pub version: Option<Vec<u8>>,
    /// 84: its modules; none when they were not asked for.
    pub modules: Vec<Aid>,
    /// CC: the security domain it belongs to.
    pub security_domain: Option<Aid>,
}

/// Why an answer to GET STATUS cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The data objects are malformed or missing.
    #[error("the data objects of a registry entry are malformed")]
    Tlv(#[from] TlvError),
    /// An object other than E3 stands at the first level.
    #[error("{0:02X} stands where a registry entry (E3) should")]
    NotAnEntry(u32),
    /// An AID is not one.
    #[error("an AID in a registry entry is malformed")]
    Aid(#[from] AidError),
    /// A life cycle state does not exist.
    #[error("the life cycle state of a registry entry does not exist")]
    LifeCycle(#[from] UnknownLifeCycle),
    /// The privileges are malformed.
    #[error("the privileges of a registry entry are malformed")]
    Privileges(#[from] PrivilegesLength),
    /// The life cycle state is not one byte.
    #[error("the life cycle state of a registry entry is not one byte")]
    LifeCycleLength,
    /// An entry of the old form is cut short.
    #[error("a registry entry is cut short")]
    Truncated,
}

impl RegistryEntry {
    /// The AID.
    pub const fn aid(&self) -> &Aid {
        match self {
            Self::Application(entry) => &entry.aid,
            Self::LoadFile(entry) => &entry.aid,
        }
    }

    /// The life cycle state.
    pub const fn life_cycle(&self) -> LifeCycle {
        match self {
            Self::Application(entry) => entry.life_cycle,
            Self::LoadFile(entry) => LifeCycle::LoadFile(entry.life_cycle),
        }
    }

    /// Reads the TLV form (P2 02): a sequence of E3, the answers of all pages put together.
    pub fn parse_all(scope: RegistryScope, data: &[u8]) -> Result<Vec<Self>, RegistryError> {
        tlv::Reader::new(data)
            .map(|object| {
                let object = object?;
                if object.tag.0 != 0xE3 {
                    return Err(RegistryError::NotAnEntry(object.tag.0));
                }
                Self::parse(scope, object.value)
            })
            .collect()
    }

    fn parse(scope: RegistryScope, value: &[u8]) -> Result<Self, RegistryError> {
        let aid = Aid::new(tlv::find_one(value, 0x4F)?)?;
        let state = match tlv::find_one(value, 0x9F70)? {
            [state] => *state,
            // Some cards add a second byte with the activation state of the contactless interface.
            [state, _] => *state,
            _ => return Err(RegistryError::LifeCycleLength),
        };
        let security_domain = optional_aid(value, 0xCC)?;
        if is_load_file(scope) {
            return Ok(Self::LoadFile(LoadFileEntry {
                aid,
                life_cycle: state.try_into()?,
                version: tlv::find(value, 0xCE)?.map(<[u8]>::to_vec),
                modules: aids(value, 0x84)?,
                security_domain,
            }));
        }
        let privileges = match tlv::find(value, 0xC5)? {
            None | Some([]) => Privileges::NONE,
            Some(bytes) => Privileges::parse(bytes)?,
        };
        Ok(Self::Application(ApplicationEntry {
            aid,
            life_cycle: application_life_cycle(scope, privileges, state)?,
            privileges,
            implicit_selection: values(value, 0xCF)?.concat(),
            load_file: optional_aid(value, 0xC4)?,
            security_domain,
        }))
    }

    /// Reads the old form (P2 00).
    pub fn parse_all_length_value(scope: RegistryScope, data: &[u8]) -> Result<Vec<Self>, RegistryError> {
        let mut rest = data;
        let mut entries = Vec::new();
        while !rest.is_empty() {
            entries.push(Self::take_length_value(scope, &mut rest)?);
        }
        Ok(entries)
    }

    // GPC 2.3.1 tables 11-33 and 11-34.
    fn take_length_value(scope: RegistryScope, rest: &mut &[u8]) -> Result<Self, RegistryError> {
        let aid = Aid::new(take_value(rest)?)?;
        let state = take_byte(rest)?;
        let first_privileges = take_byte(rest)?;
        if !is_load_file(scope) {
            let privileges = Privileges::from_bytes([first_privileges, 0, 0]);
            return Ok(Self::Application(ApplicationEntry {
                aid,
                life_cycle: application_life_cycle(scope, privileges, state)?,
                privileges,
                implicit_selection: Vec::new(),
                load_file: None,
                security_domain: None,
            }));
        }
        let mut modules = Vec::new();
        if scope == RegistryScope::LoadFilesAndModules {
            for _ in 0..take_byte(rest)? {
                modules.push(Aid::new(take_value(rest)?)?);
            }
        }
        let life_cycle = state.try_into()?;
        Ok(Self::LoadFile(LoadFileEntry { aid, life_cycle, version: None, modules, security_domain: None }))
    }

    /// Writes the TLV form with the tags of `tag_list`; all of them when it is empty.
    ///
    /// The AID and the life cycle state stand in every entry, whatever the list says.
    pub fn write_tlv(&self, tag_list: &[u8], out: &mut Vec<u8>) {
        let wanted = wanted_tags(tag_list);
        let wants = |tag| wanted.as_ref().is_none_or(|tags| tags.contains(&tag));
        let mut value = tlv::encode(0x4F, self.aid().as_bytes());
        tlv::write(&mut value, 0x9F70, &[self.life_cycle().value()]);
        match self {
            Self::Application(entry) => {
                if wants(0xC5) {
                    tlv::write(&mut value, 0xC5, &entry.privileges.to_bytes());
                }
                if wants(0xCF) {
                    entry.implicit_selection.iter().for_each(|byte| tlv::write(&mut value, 0xCF, &[*byte]));
                }
                write_optional(&mut value, 0xC4, entry.load_file.filter(|_| wants(0xC4)));
                write_optional(&mut value, 0xCC, entry.security_domain.filter(|_| wants(0xCC)));
            }
            Self::LoadFile(entry) => {
                if let Some(version) = entry.version.as_ref().filter(|_| wants(0xCE)) {
                    tlv::write(&mut value, 0xCE, version);
                }
                if wants(0x84) {
                    entry.modules.iter().for_each(|module| tlv::write(&mut value, 0x84, module.as_bytes()));
                }
                write_optional(&mut value, 0xCC, entry.security_domain.filter(|_| wants(0xCC)));
            }
        }
        tlv::write(out, 0xE3, &value);
    }

    /// Writes the old form; modules only for the scope that asks for them.
    pub fn write_length_value(&self, scope: RegistryScope, out: &mut Vec<u8>) {
        write_aid_value(out, self.aid());
        out.push(self.life_cycle().value());
        match self {
            Self::Application(entry) => out.push(entry.privileges.to_bytes()[0]),
            Self::LoadFile(entry) => {
                out.push(0x00);
                if scope == RegistryScope::LoadFilesAndModules {
                    let modules = &entry.modules[..entry.modules.len().min(255)];
                    out.push(modules.len() as u8);
                    modules.iter().for_each(|module| write_aid_value(out, module));
                }
            }
        }
    }
}

const fn is_load_file(scope: RegistryScope) -> bool {
    match scope {
        RegistryScope::LoadFiles | RegistryScope::LoadFilesAndModules => true,
        RegistryScope::IssuerSecurityDomain | RegistryScope::Applications => false,
    }
}

fn application_life_cycle(
    scope: RegistryScope,
    privileges: Privileges,
    state: u8,
) -> Result<LifeCycle, UnknownLifeCycle> {
    if scope == RegistryScope::IssuerSecurityDomain {
        return CardLifeCycle::try_from(state).map(LifeCycle::Card);
    }
    if privileges.is_security_domain() {
        return SecurityDomainLifeCycle::try_from(state).map(LifeCycle::SecurityDomain);
    }
    ApplicationLifeCycle::try_from(state).map(LifeCycle::Application)
}

fn values(value: &[u8], tag: u32) -> Result<Vec<&[u8]>, TlvError> {
    let objects = tlv::parse_all(value)?;
    Ok(objects.into_iter().filter(|object| object.tag.0 == tag).map(|object| object.value).collect())
}

fn aids(value: &[u8], tag: u32) -> Result<Vec<Aid>, RegistryError> {
    values(value, tag)?.into_iter().map(|aid| Ok(Aid::new(aid)?)).collect()
}

fn optional_aid(value: &[u8], tag: u32) -> Result<Option<Aid>, RegistryError> {
    match tlv::find(value, tag)? {
        None | Some([]) => Ok(None),
        Some(aid) => Ok(Some(Aid::new(aid)?)),
    }
}

/// The tags of a tag list (5C); `None` for an empty or malformed one, which asks for all.
fn wanted_tags(mut list: &[u8]) -> Option<Vec<u32>> {
    let mut tags = Vec::new();
    while let [first, rest @ ..] = list {
        let mut tag = u32::from(*first);
        list = rest;
        if first & 0x1F == 0x1F {
            let (second, rest) = list.split_first()?;
            tag = tag << 8 | u32::from(*second);
            list = rest;
        }
        tags.push(tag);
    }
    (!tags.is_empty()).then_some(tags)
}

fn write_optional(out: &mut Vec<u8>, tag: u32, aid: Option<Aid>) {
    if let Some(aid) = aid {
        tlv::write(out, tag, aid.as_bytes());
    }
}

fn write_aid_value(out: &mut Vec<u8>, aid: &Aid) {
    out.push(aid.as_bytes().len() as u8);
    out.extend(aid.as_bytes());
}

fn take_byte(rest: &mut &[u8]) -> Result<u8, RegistryError> {
    let (first, behind) = rest.split_first().ok_or(RegistryError::Truncated)?;
    *rest = behind;
    Ok(*first)
}

fn take_value<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], RegistryError> {
    let length = usize::from(take_byte(rest)?);
    let (value, behind) = rest.split_at_checked(length).ok_or(RegistryError::Truncated)?;
    *rest = behind;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unhex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    /// The plain answers of the recorded S8 session (Samsung OpenSCP-Java), in the old form.
    #[test]
    fn reads_a_recorded_registry() {
        let files = unhex(
            "08A00000015141434C010010A0000002202003010101000000000006010010A0000002202003010101000000000011010005A0000002480100",
        );
        let files = RegistryEntry::parse_all_length_value(RegistryScope::LoadFiles, &files).unwrap();
        assert_eq!(files.len(), 4);
        assert_eq!(files[3].aid().to_string(), "A000000248");
        let applications = unhex(
            "0AA9A8A7A6A5A4A3A2A1A00F800AA0A1A2A3A4A5A6A7A8A9070009A00000015141434C00070010A0000002202003010301000000000011070007A00000024804000700",
        );
        let entries =
            RegistryEntry::parse_all_length_value(RegistryScope::Applications, &applications).unwrap();
        assert_eq!(entries[0].life_cycle(), LifeCycle::SecurityDomain(SecurityDomainLifeCycle::Personalized));
        let mut written = Vec::new();
        entries.iter().for_each(|entry| entry.write_length_value(RegistryScope::Applications, &mut written));
        assert_eq!(written, applications);
        let domain = unhex("08A0000001510000000F9E");
        let domain =
            RegistryEntry::parse_all_length_value(RegistryScope::IssuerSecurityDomain, &domain).unwrap();
        assert_eq!(domain[0].life_cycle(), LifeCycle::Card(CardLifeCycle::Secured));
    }

    #[test]
    fn a_tag_list_narrows_the_answer() {
        let entry = RegistryEntry::Application(ApplicationEntry {
            aid: "A000000151000000".parse().unwrap(),
            life_cycle: LifeCycle::Card(CardLifeCycle::OpReady),
            privileges: Privileges::AMSD,
            implicit_selection: vec![0x80],
            load_file: Some("A0000001515350".parse().unwrap()),
            security_domain: None,
        });
        let mut narrow = Vec::new();
        entry.write_tlv(&[0x4F, 0x9F, 0x70, 0xC5], &mut narrow);
        assert_eq!(hex::encode_upper(narrow), "E3134F08A0000001510000009F700101C503804000");
        let mut full = Vec::new();
        entry.write_tlv(&[], &mut full);
        let parsed = RegistryEntry::parse_all(RegistryScope::IssuerSecurityDomain, &full).unwrap();
        assert_eq!(parsed, [entry]);
    }

    #[test]
    fn refuses_damage() {
        let scope = RegistryScope::Applications;
        let cases = [
            ("4F05A000000001", RegistryError::NotAnEntry(0x4F)),
            ("E3074F05A000000001", TlvError::Missing(0x9F70).into()),
            ("E3074F01A09F700107", AidError::Length(1).into()),
        ];
        for (text, error) in cases {
            assert_eq!(RegistryEntry::parse_all(scope, &unhex(text)), Err(error), "{text}");
        }
        let two_bytes = RegistryEntry::parse_all(scope, &unhex("E30C4F05A0000000019F70020700"));
        assert!(two_bytes.is_ok(), "a second byte is passed over");
        let cut = RegistryEntry::parse_all_length_value(scope, &unhex("05A00000000107"));
        assert_eq!(cut, Err(RegistryError::Truncated));
    }

    fn any_aid() -> impl Strategy<Value = Aid> {
        proptest::collection::vec(any::<u8>(), 5..=16).prop_map(|bytes| Aid::new(&bytes).unwrap())
    }

    proptest! {
        #[test]
        fn both_forms_read_back(
            aid in any_aid(), module in any_aid(), domain in any_aid(), state in any::<u8>(), privileges: [u8; 3],
        ) {
            let privileges = Privileges::from_bytes(privileges);
            let scope = RegistryScope::LoadFilesAndModules;
            let file = RegistryEntry::LoadFile(LoadFileEntry {
                aid, life_cycle: LoadFileLifeCycle::Loaded, version: Some(vec![1, 0]),
                modules: vec![module, aid], security_domain: Some(domain),
            });
            let mut tlv = Vec::new();
            file.write_tlv(&[], &mut tlv);
            prop_assert_eq!(RegistryEntry::parse_all(scope, &tlv).unwrap(), vec![file.clone()]);
            let mut old = Vec::new();
            file.write_length_value(scope, &mut old);
            let read = RegistryEntry::parse_all_length_value(scope, &old).unwrap();
            let mut again = Vec::new();
            read[0].write_length_value(scope, &mut again);
            prop_assert_eq!(again, old);
            let scope = RegistryScope::Applications;
            if let Ok(life_cycle) = application_life_cycle(scope, privileges, state) {
                let application = RegistryEntry::Application(ApplicationEntry {
                    aid, life_cycle, privileges, implicit_selection: vec![], load_file: Some(module),
                    security_domain: Some(domain),
                });
                let mut tlv = Vec::new();
                application.write_tlv(&[], &mut tlv);
                prop_assert_eq!(RegistryEntry::parse_all(scope, &tlv).unwrap(), vec![application]);
            }
        }
    }

    #[test]
    fn fuzz_parse() {
        bolero::check!().for_each(|bytes: &[u8]| {
            for scope in RegistryScope::ALL {
                let _ = RegistryEntry::parse_all(scope, bytes);
                let _ = RegistryEntry::parse_all_length_value(scope, bytes);
            }
        });
    }
}
