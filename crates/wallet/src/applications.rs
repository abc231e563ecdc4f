//! The application management module: the local list of installed applications (W-5.c).

use tsm_api::HexBytes;
use tsm_api::se_tsm::wallet as wire;

use crate::storage::{InstalledApplication, WalletRecord};

/// Takes over the platform's list, which it has from the card.
pub fn replace(record: &mut WalletRecord, installed: &[wire::InstalledApplication]) {
    record.installed = installed.iter().map(from_wire).collect();
}

/// Adds an application after its last step has succeeded (W-6.4.3.e); adding it again changes nothing.
pub fn add(record: &mut WalletRecord, aid: &HexBytes, name: &str, version: &str) {
    if record.installed.iter().any(|known| known.aid == *aid) {
        return;
    }
    record.installed.push(InstalledApplication {
        aid: aid.clone(),
        name: name.to_owned(),
        version: version.to_owned(),
        updatable: false,
    });
}

/// Takes an application off the list.
pub fn remove(record: &mut WalletRecord, aid: &HexBytes) {
    record.installed.retain(|known| known.aid != *aid);
}

fn from_wire(application: &wire::InstalledApplication) -> InstalledApplication {
    InstalledApplication {
        aid: application.aid.clone(),
        name: application.name.clone(),
        version: application.version.clone(),
        updatable: application.update == wire::UpdateMark::Updatable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list changes only by what was finished, and adding twice is adding once.
    #[test]
    fn adding_and_removing() {
        let mut record = WalletRecord::default();
        let (first, second): (HexBytes, HexBytes) = (vec![0xA0; 5].into(), vec![0xA1; 5].into());
        add(&mut record, &first, "Transit", "1.0.0");
        add(&mut record, &first, "Transit", "1.0.0");
        add(&mut record, &second, "Greeting", "1.0.0");
        assert_eq!(record.installed.len(), 2);
        remove(&mut record, &first);
        assert_eq!(record.installed.iter().map(|known| &known.aid).collect::<Vec<_>>(), [&second]);
    }
}
