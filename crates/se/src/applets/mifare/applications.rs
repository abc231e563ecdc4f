//! LIST, DOWNLOAD, DELETE and ACTIVATE APPLICATION.

use tsm_epurse::mifare::commands::{Activation, BlockPosition, ListEntry};
use tsm_epurse::mifare::{Capacity, MifareApplication, MifareApplicationId, Sector};
use tsm_iso7816::{ResponseApdu, StatusWord};

use super::memory;
use crate::applet::{Answer, AppletContext, ObjectId};

/// Applications are numbered by the lowest sector they have: no two have the same.
const APPLICATIONS: ObjectId = 0x0200;
/// An image cannot be longer: every block of a 4 KiB memory, and 48 bytes of names and numbers each.
const LONGEST_IMAGE: usize = 8192;
/// A short response must hold the answer.
const LONGEST_ANSWER: usize = 240;

/// What the manager remembers of an application.
struct Application {
    id: MifareApplicationId,
    activation: Activation,
    sectors: Vec<u8>,
    label: Vec<u8>,
}

/// The blocks of a download so far.
#[derive(Default)]
struct Downloading {
    next: u8,
    image: Vec<u8>,
}

/// LIST APPLICATIONS.
pub(super) fn list(context: &AppletContext<'_>, first: u8) -> Answer {
    let mut answer = Vec::new();
    for application in all(context)?.into_iter().skip(usize::from(first)) {
        let Application { id, activation, sectors, label } = application;
        let entry = ListEntry { id, label, activation, sectors }.encode();
        if !answer.is_empty() && answer.len() + entry.len() > LONGEST_ANSWER {
            return Ok(ResponseApdu::new(answer, StatusWord::MORE_DATA_AVAILABLE));
        }
        answer.extend(entry);
    }
    Ok(ResponseApdu::success(answer))
}

/// DOWNLOAD APPLICATION. Block 0 begins afresh; the last block makes the application, or nothing.
pub(super) fn download(
    context: &mut AppletContext<'_>,
    number: u8,
    position: BlockPosition,
    data: &[u8],
) -> Answer {
    let downloading = context.volatile::<Downloading>();
    if number == 0 {
        *downloading = Downloading::default();
    }
    let in_order = number == downloading.next && downloading.image.len() + data.len() <= LONGEST_IMAGE;
    let mut downloading = std::mem::take(downloading);
    if !in_order {
        return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
    }
    downloading.image.extend_from_slice(data);
    match position {
        BlockPosition::Last => make(context, &downloading.image)?,
        BlockPosition::More => {
            downloading.next = number.checked_add(1).ok_or(StatusWord::WRONG_DATA)?;
            *context.volatile::<Downloading>() = downloading;
        }
    }
    Ok(ResponseApdu::success([]))
}

/// DELETE APPLICATION.
pub(super) fn delete(context: &mut AppletContext<'_>, id: MifareApplicationId) -> Answer {
    let application = find(context, id)?;
    let capacity = memory::capacity(context)?;
    for sector in &application.sectors {
        memory::wipe(context, sector_of(capacity, *sector)?);
    }
    context.remove(application.object());
    Ok(ResponseApdu::success([]))
}

/// ACTIVATE APPLICATION, and the reverse.
pub(super) fn activate(
    context: &mut AppletContext<'_>,
    id: MifareApplicationId,
    activation: Activation,
) -> Answer {
    let application = Application { activation, ..find(context, id)? };
    application.write(context)?;
    Ok(ResponseApdu::success([]))
}

/// Makes an application of its image: 6A80 for what is no image, 6A84 where a sector is taken.
fn make(context: &mut AppletContext<'_>, image: &[u8]) -> Result<(), StatusWord> {
    let capacity = memory::capacity(context)?;
    let application = MifareApplication::decode(image, capacity).map_err(|_| StatusWord::WRONG_DATA)?;
    let present = all(context)?;
    if present.iter().any(|other| other.id == application.id()) {
        return Err(StatusWord::FILE_ALREADY_EXISTS);
    }
    let mut sectors: Vec<u8> = application.sectors().iter().map(|image| image.sector.number()).collect();
    sectors.sort_unstable();
    if present.iter().any(|other| other.sectors.iter().any(|sector| sectors.contains(sector))) {
        return Err(StatusWord::NOT_ENOUGH_MEMORY);
    }
    for image in application.sectors() {
        memory::take(context, image)?;
    }
    let (id, label) = (application.id(), application.label().to_vec());
    Application { id, activation: Activation::Inactive, sectors, label }.write(context)
}

fn find(context: &AppletContext<'_>, id: MifareApplicationId) -> Result<Application, StatusWord> {
    let found = all(context)?.into_iter().find(|application| application.id == id);
    found.ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)
}

fn all(context: &AppletContext<'_>) -> Result<Vec<Application>, StatusWord> {
    let sectors = memory::capacity(context)?.sectors();
    (0..sectors)
        .filter_map(|sector| context.read(APPLICATIONS | ObjectId::from(sector)))
        .map(|bytes| Application::decode(bytes).ok_or(StatusWord::MEMORY_FAILURE))
        .collect()
}

fn sector_of(capacity: Capacity, number: u8) -> Result<Sector, StatusWord> {
    Sector::new(capacity, number).ok_or(StatusWord::MEMORY_FAILURE)
}

impl Application {
    fn object(&self) -> ObjectId {
        // Every application has at least one sector, and they are sorted.
        APPLICATIONS | ObjectId::from(self.sectors.first().copied().unwrap_or_default())
    }

    fn write(&self, context: &mut AppletContext<'_>) -> Result<(), StatusWord> {
        let activation = match self.activation {
            Activation::Inactive => 0,
            Activation::Active => 1,
        };
        let mut bytes = self.id.0.to_be_bytes().to_vec();
        bytes.extend([activation, self.sectors.len() as u8]);
        bytes.extend(&self.sectors);
        bytes.extend(&self.label);
        context.write(self.object(), &bytes)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[high, low, activation, count], rest) = bytes.split_first_chunk::<4>()?;
        let (sectors, label) = rest.split_at_checked(usize::from(count))?;
        let activation = if activation == 0 { Activation::Inactive } else { Activation::Active };
        let id = MifareApplicationId(u16::from_be_bytes([high, low]));
        Some(Self { id, activation, sectors: sectors.to_vec(), label: label.to_vec() })
    }
}
