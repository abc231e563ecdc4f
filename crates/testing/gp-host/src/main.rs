//! A GlobalPlatform host that shares no code with OpenTSM: the `scll` library over PC/SC.
//!
//! ```text
//! gp-host READER {scp02|scp03} I KEY-VERSION LEVEL KEY COMMAND
//!     list
//!     load CAP-FILE
//!     install PACKAGE MODULE INSTANCE
//!     delete INSTANCE PACKAGE
//!     send APDU...
//!     create-domain PACKAGE MODULE INSTANCE
//!     delete-domain INSTANCE
//!     put-keys VERSION KEY
//!     delete-keys VERSION
//! ```
//!
//! Numbers and AIDs are hexadecimal. It opens the issuer security domain at that level and prints
//! one fact per line; a refusal ends it with status 1 and a sentence.

use std::process::ExitCode;

use rand_core::OsRng;
use scll::CardManager;
use scll::backend::{KeyBackend, KeyKind};
use scll::backend_rustcrypto::RustCryptoBackend;
use scll::cap::InflateCtx;
use scll::model::ScpVariant;
use scll::report::{DeleteCascade, ScpTargetKind};
use scll::transport_pcsc::PcscTransport;
use scll::workflow::{
    CreateSsdArgs, DeleteAppletArgs, InstallAppletArgs, LoadPackageArgs, NewKeyset, OpenScpArgs,
    PutSdKeysArgs, SdKeys,
};

type Host = CardManager<PcscTransport, RustCryptoBackend<OsRng>>;
type Outcome<T = ()> = Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Outcome {
    let [reader, protocol, i, version, level, key, command @ ..] = words else {
        return Err("usage: gp-host READER {scp02|scp03} I KEY-VERSION LEVEL KEY COMMAND".into());
    };
    let transport = PcscTransport::connect(reader).map_err(|error| format!("cannot connect: {error:?}"))?;
    let mut host = CardManager::new(transport, RustCryptoBackend::new(OsRng));
    let info = host.discover(None).map_err(|error| said("discovery", error))?;
    println!("isd {}", hex(info.isd_aid.as_bytes()));
    for variant in &info.scp_supported {
        println!("offers {variant:?}");
    }
    let variant = variant(protocol, byte(i)?)?;
    let level = byte(level)?;
    let key = import(&host, variant, &bytes(key)?)?;
    let opened = host
        .open_scp(&OpenScpArgs {
            target_aid: info.isd_aid.as_bytes(),
            target_kind: ScpTargetKind::SecurityDomainAid,
            sd_keys: key,
            advertised: &info.scp_supported,
            force_scp: Some(variant),
            kvn: byte(version)?,
            requested_level: level,
        })
        .map_err(|error| said("opening the secure channel", error))?;
    println!("opened {:02X} {:02X}", opened.kvn_effective, opened.security_level_effective);
    if opened.security_level_effective != level {
        return Err(format!("asked for level {level:02X} and got {:02X}", opened.security_level_effective));
    }
    perform(&mut host, info.isd_aid.as_bytes(), variant, key, command)
}

fn perform(host: &mut Host, isd: &[u8], variant: ScpVariant, keys: SdKeys, command: &[&str]) -> Outcome {
    match command {
        ["list"] => list(host, isd),
        ["load", file] => load(host, isd, file),
        ["install", package, module, instance] => {
            install(host, isd, &bytes(package)?, &bytes(module)?, &bytes(instance)?)
        }
        ["delete", instance, package] => delete(host, &bytes(instance)?, &bytes(package)?),
        ["create-domain", package, module, instance] => {
            create_domain(host, isd, &bytes(package)?, &bytes(module)?, &bytes(instance)?)
        }
        ["delete-domain", instance] => delete_domain(host, &bytes(instance)?),
        ["put-keys", version, key] => put_keys(host, isd, variant, keys, byte(version)?, &bytes(key)?),
        ["delete-keys", version] => {
            host.delete_sd_keyset(byte(version)?, isd).map_err(|error| said("DELETE", error))?;
            println!("deleted keys {version}");
            Ok(())
        }
        ["send", apdus @ ..] => apdus.iter().try_for_each(|apdu| send(host, &bytes(apdu)?)),
        other => Err(format!("unknown command {other:?}")),
    }
}

fn list(host: &mut Host, isd: &[u8]) -> Outcome {
    let status = host.get_card_status(isd).map_err(|error| said("GET STATUS", error))?;
    println!("card {:?}", status.state);
    let report = host.get_card_inventory(isd).map_err(|error| said("GET STATUS", error))?;
    for domain in &report.inventory.security_domains {
        println!("domain {} {:02X}", hex(domain.aid.as_bytes()), domain.life_cycle_state);
    }
    for application in &report.inventory.applets {
        println!("application {} {:02X}", hex(application.aid.as_bytes()), application.life_cycle_state);
    }
    for file in &report.inventory.elfs {
        println!("file {} {:02X}", hex(file.aid.as_bytes()), file.life_cycle_state);
        for module in &file.modules {
            println!("module {}", hex(module.as_bytes()));
        }
    }
    Ok(())
}

fn load(host: &mut Host, isd: &[u8], file: &str) -> Outcome {
    let cap_zip = std::fs::read(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let arguments = LoadPackageArgs { target_sd_aid: isd, cap_zip: &cap_zip, lfdb_hash: &[] };
    let report =
        host.load_package(&arguments, &mut InflateCtx::new()).map_err(|error| said("loading", error))?;
    println!(
        "loaded {} in {} blocks",
        hex(report.effective.package_aid.as_bytes()),
        report.effective.block_count
    );
    Ok(())
}

fn install(host: &mut Host, isd: &[u8], package: &[u8], module: &[u8], instance: &[u8]) -> Outcome {
    host.install_applet(&InstallAppletArgs {
        parent_sd_aid: isd,
        package_aid: package,
        module_aid: module,
        instance_aid: instance,
        privileges: [0; 3],
        system_install_params: &[],
        applet_install_params: &[],
    })
    .map_err(|error| said("INSTALL", error))?;
    println!("installed {}", hex(instance));
    Ok(())
}

fn delete(host: &mut Host, instance: &[u8], package: &[u8]) -> Outcome {
    let arguments = DeleteAppletArgs {
        instance_aid: instance,
        elf_aid: Some(package),
        cascade_elf: DeleteCascade::Always,
    };
    let report = host.delete_applet(&arguments).map_err(|error| said("DELETE", error))?;
    for removed in report.effective.instances_removed.iter().chain(&report.effective.elfs_removed) {
        println!("deleted {}", hex(removed.as_bytes()));
    }
    Ok(())
}

fn create_domain(host: &mut Host, isd: &[u8], package: &[u8], module: &[u8], instance: &[u8]) -> Outcome {
    host.create_ssd(&CreateSsdArgs {
        parent_sd_aid: isd,
        ssd_aid: instance,
        elf_aid: package,
        module_aid: module,
        privileges: [0x80, 0, 0],
        install_params: &[0xC9, 0x00],
    })
    .map_err(|error| said("INSTALL", error))?;
    println!("installed {}", hex(instance));
    Ok(())
}

fn delete_domain(host: &mut Host, instance: &[u8]) -> Outcome {
    host.delete_ssd(instance, DeleteCascade::Never).map_err(|error| said("DELETE", error))?;
    println!("deleted {}", hex(instance));
    Ok(())
}

fn put_keys(
    host: &mut Host,
    isd: &[u8],
    variant: ScpVariant,
    current: SdKeys,
    new_kvn: u8,
    key: &[u8],
) -> Outcome {
    let new = import(host, variant, key)?;
    let kind = key_kind(variant, key.len())?;
    let new_keys = NewKeyset { enc: new.enc, mac: new.mac, dek: new.dek, kind };
    host.put_sd_keys(&PutSdKeysArgs { dek: current.dek, new_keys, new_kvn, target_sd_aid: isd })
        .map_err(|error| said("PUT KEY", error))?;
    println!("put keys {new_kvn:02X}");
    Ok(())
}

fn send(host: &mut Host, apdu: &[u8]) -> Outcome {
    let report = host.transmit(apdu).map_err(|error| said("the command", error))?;
    println!("answer {} {:04X}", hex(&report.rapdu), report.sw);
    Ok(())
}

fn variant(protocol: &str, i_param: u8) -> Outcome<ScpVariant> {
    match protocol {
        "scp02" => Ok(ScpVariant::Scp02 { i_param }),
        "scp03" => Ok(ScpVariant::Scp03 { i_param }),
        other => Err(format!("no secure channel protocol is called {other}")),
    }
}

fn import(host: &Host, variant: ScpVariant, key: &[u8]) -> Outcome<SdKeys> {
    let kind = key_kind(variant, key.len())?;
    let handle = host.backend().import_key(kind, key).map_err(|error| format!("{error:?}"))?;
    Ok(SdKeys { enc: handle, mac: handle, dek: handle })
}

fn key_kind(variant: ScpVariant, length: usize) -> Outcome<KeyKind> {
    match (variant, length) {
        (ScpVariant::Scp02 { .. }, 16) => Ok(KeyKind::TripleDesDouble),
        (ScpVariant::Scp03 { .. }, 16) => Ok(KeyKind::Aes128),
        (ScpVariant::Scp03 { .. }, 24) => Ok(KeyKind::Aes192),
        (ScpVariant::Scp03 { .. }, 32) => Ok(KeyKind::Aes256),
        (_, length) => Err(format!("a key of {length} bytes does not fit the protocol")),
    }
}

fn said(action: &str, error: scll::error::ScllError) -> String {
    format!("{action} failed: {error:?}")
}

fn byte(text: &str) -> Outcome<u8> {
    u8::from_str_radix(text, 16).map_err(|_| format!("{text} is not a byte"))
}

fn bytes(text: &str) -> Outcome<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|at| text.get(at..at + 2).ok_or(()).and_then(|pair| u8::from_str_radix(pair, 16).map_err(drop)))
        .collect::<Result<_, _>>()
        .map_err(|()| format!("{text} is not hexadecimal"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
