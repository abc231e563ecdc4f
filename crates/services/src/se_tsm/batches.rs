//! SE batches by number segments (P-5.8.1).

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::endpoint::Nothing;
use tsm_api::ids::BatchId as WireBatchId;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::operator::{
    BatchList, BatchRecord, NewBatch, PresetLoadFile, PresetMemory, SeForm, SecureChannelProfile,
    SecureChannelProtocol,
};
use tsm_domain::application::{MemoryKind, Space};
use tsm_domain::se::{Batch, IssuerKeyScheme, PresetApplication, SeIdRange, SeKind};
use tsm_domain::security_domain::ChannelProtocol;

use super::SeTsm;
use super::access::Caller;
use super::card_access::key_source;
use super::convert::{aid, se_id, se_to_wire};
use super::stop::{field, stored};
use crate::server::Call;

/// POST /operator/v1/batches
pub(super) async fn add(tsm: Arc<SeTsm>, call: Call<Caller, NewBatch>) -> Result<BatchRecord, Problem> {
    let person = call.caller.person()?;
    let batch = batch_from_wire(&tsm, &call.request)?;
    if tsm.store.batch(&batch.id).await.map_err(stored)?.is_some() {
        return Err(ProblemCode::Duplicate.into());
    }
    let record = BatchRecord { batch: WireBatchId(batch.id.to_string()), entry: call.request };
    tsm.store.put_batch(batch).await.map_err(stored)?;
    tsm.audit(person.id(), "batch-added", &serde_json::json!({ "batch": record.batch.0 })).await?;
    Ok(record)
}

/// GET /operator/v1/batches
pub(super) async fn list(tsm: Arc<SeTsm>, _call: Call<Caller, Nothing>) -> Result<BatchList, Problem> {
    let batches = tsm.store.batches().await.map_err(stored)?;
    Ok(BatchList { batches: batches.iter().flat_map(batch_to_wire).collect() })
}

fn batch_from_wire(tsm: &SeTsm, new: &NewBatch) -> Result<Batch, Problem> {
    let first = se_id(&new.first_se_id)?;
    let issuer_domain = aid(&new.isd_aid)?;
    // The names must lead to keys, or the first card of the batch would be the one to find out.
    for name in [&new.isd_key, &new.initial_domain_key] {
        key_source(name, issuer_domain, &first).map_err(|_| field(format_args!("{name} names no key.")))?;
    }
    tsm.settings.policy.security_level(new.secure_channel.level).map_err(field)?;
    let presets: Result<Vec<_>, Problem> = new.preset_load_files.iter().map(preset_from_wire).collect();
    Ok(Batch {
        id: new.name.parse().map_err(field)?,
        segments: vec![SeIdRange { first, last: se_id(&new.last_se_id)? }],
        kind: match new.form {
            SeForm::Sim => SeKind::Sim,
            SeForm::Embedded => SeKind::Embedded,
            SeForm::External => SeKind::External,
            SeForm::StickOn => SeKind::StickOn,
        },
        issuer_domain,
        protocol: protocol_from_wire(&new.secure_channel),
        key_scheme: IssuerKeyScheme::Root,
        issuer_keys: new.isd_key.parse().map_err(field)?,
        issuer_key_version: new.secure_channel.key_version,
        initial_domain_keys: new.initial_domain_key.parse().map_err(field)?,
        chip: new.chip.clone(),
        platform_version: new.platform_version.clone(),
        java_card_version: new.java_version.clone(),
        initial_space: Space { code: new.free_bytes, data: new.free_bytes, volatile: u32::MAX },
        preset_domains: Vec::new(),
        preset_applications: presets?,
    })
}

fn preset_from_wire(preset: &PresetLoadFile) -> Result<PresetApplication, Problem> {
    let load_file = aid(&preset.aid)?;
    Ok(PresetApplication {
        application: load_file,
        load_file,
        memory: match preset.memory {
            PresetMemory::ReadOnly => MemoryKind::PresetRom,
            PresetMemory::Rewritable => MemoryKind::PresetFlash,
        },
        instances: None,
    })
}

/// The usual options of each protocol: with R-MAC where the protocol has it.
pub(super) const fn protocol_from_wire(profile: &SecureChannelProfile) -> ChannelProtocol {
    match (profile.protocol, profile.options) {
        (SecureChannelProtocol::Scp02, i) => ChannelProtocol::Scp02 { i },
        (SecureChannelProtocol::Scp03, i) => ChannelProtocol::Scp03 { i },
    }
}

pub(super) const fn protocol_to_wire(protocol: ChannelProtocol, key_version: u8) -> SecureChannelProfile {
    let (protocol, options) = match protocol {
        ChannelProtocol::Scp02 { i } => (SecureChannelProtocol::Scp02, i),
        ChannelProtocol::Scp03 { i } => (SecureChannelProtocol::Scp03, i),
    };
    SecureChannelProfile { protocol, options, key_version, level: 0x03 }
}

fn batch_to_wire(batch: &Batch) -> Vec<BatchRecord> {
    let entry = |segment: &SeIdRange| NewBatch {
        name: batch.id.to_string(),
        first_se_id: se_to_wire(&segment.first),
        last_se_id: se_to_wire(&segment.last),
        form: match batch.kind {
            SeKind::Sim => SeForm::Sim,
            SeKind::Embedded => SeForm::Embedded,
            SeKind::External => SeForm::External,
            SeKind::StickOn => SeForm::StickOn,
        },
        chip: batch.chip.clone(),
        platform_version: batch.platform_version.clone(),
        java_version: batch.java_card_version.clone(),
        free_bytes: batch.initial_space.data,
        isd_aid: HexBytes::from(batch.issuer_domain),
        secure_channel: protocol_to_wire(batch.protocol, batch.issuer_key_version),
        isd_key: batch.issuer_keys.to_string(),
        initial_domain_key: batch.initial_domain_keys.to_string(),
        preset_load_files: batch.preset_applications.iter().map(preset_to_wire).collect(),
    };
    let record = |segment| BatchRecord { batch: WireBatchId(batch.id.to_string()), entry: entry(segment) };
    batch.segments.iter().map(record).collect()
}

fn preset_to_wire(preset: &PresetApplication) -> PresetLoadFile {
    PresetLoadFile {
        aid: preset.load_file.into(),
        memory: if preset.memory.can_be_deleted() {
            PresetMemory::Rewritable
        } else {
            PresetMemory::ReadOnly
        },
    }
}
