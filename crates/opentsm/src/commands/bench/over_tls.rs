//! Cards opened and topped up over TLS, on the embedded stores or on PostgreSQL: phones, wallets, every
//! role and the key service in this process, beside a bare loop of synced writes on the same disk.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use tsm_se::memory::LoadFileLibrary;
use tsm_storage::{postgres, sqlite};
use tsm_wallet::WalletError;

use crate::city::folder::CityFolder;
use crate::city::{City, Place, Progress, ceremony, se_id};
use crate::folders::TemporaryFolder;
use crate::phone::Phone;
use crate::riders;

/// Phones at work at once.
const PHONES: u32 = 16;
/// Top-ups of each phone.
const TOP_UPS: u32 = 32;

/// What was measured: how many of each in a second.
pub struct Rates {
    /// Cards opened: domain, keys, download, installation, personalisation, account.
    pub openings: f64,
    /// Top-ups paid, credited, proven and told.
    pub top_ups: f64,
    /// How often the disk was synced for one of them, by the stores of all roles together.
    pub syncs_of_a_top_up: f64,
    /// Writes of one record to a file in the city's folder, each synced before the next, one after the
    /// other: what a durable step costs on this disk without grouping.
    pub bare_syncs: f64,
}

struct Silent;

impl Progress for Silent {
    fn done(&mut self, _: &str) {}
}

/// Brings up a city, with its books in files or in the PostgreSQL at `database`, and lets the phones at it.
pub fn measure(database: Option<&str>) -> Result<Rates, String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let folder = TemporaryFolder::new().map_err(|error| error.to_string())?;
    let city = CityFolder::new(folder.path()).map_err(|error| error.to_string())?;
    runtime.block_on(measure_in(&city, database))
}

async fn measure_in(folder: &CityFolder, database: Option<&str>) -> Result<Rates, String> {
    let city = City::bring_up(folder, Place::Together, database, &mut Silent)
        .await
        .map_err(|error| error.to_string())?;
    let library = LoadFileLibrary::new();
    let mut phones = Vec::new();
    for number in 1..=PHONES {
        let profile = ceremony::profile(&city.maker, &se_id(number), library.clone());
        let mut phone = riders::switch_on(&city.plan.servers(), folder, number, &profile).await?;
        riders::register(&mut phone, number).await.map_err(|error| error.to_string())?;
        phones.push(phone);
    }
    let started = Instant::now();
    let phones = together(phones, |mut phone| async move {
        riders::open_card(&mut phone).await.map_err(|error| error.to_string())?;
        Ok(phone)
    })
    .await?;
    let openings = f64::from(PHONES) / started.elapsed().as_secs_f64();
    let before = syncs(database).await?;
    let started = Instant::now();
    together(phones, |mut phone| async move {
        for _ in 0..TOP_UPS {
            top_up(&mut phone).await?;
        }
        Ok(phone)
    })
    .await?;
    let top_ups = f64::from(PHONES * TOP_UPS) / started.elapsed().as_secs_f64();
    // What is told the centre beside the top-ups is over when the city has stopped.
    city.stop().await;
    let syncs_of_a_top_up = (syncs(database).await? - before) as f64 / f64::from(PHONES * TOP_UPS);
    let bare_syncs = bare_syncs(folder.path()).map_err(|error| error.to_string())?;
    Ok(Rates { openings, top_ups, syncs_of_a_top_up, bare_syncs })
}

/// The disk's syncs so far, by this process's files or by the PostgreSQL at `database`.
async fn syncs(database: Option<&str>) -> Result<u64, String> {
    match database {
        None => Ok(sqlite::commits_of_process()),
        Some(url) => postgres::log_syncs(url).await.map_err(|error| error.to_string()),
    }
}

/// How often a second a record can be appended and synced.
fn bare_syncs(folder: &Path) -> std::io::Result<f64> {
    const RECORD: [u8; 512] = [0x5A; 512];
    const SYNCS: u32 = 500;
    let mut file = std::fs::File::create(folder.join("bare-syncs"))?;
    let started = Instant::now();
    for _ in 0..SYNCS {
        file.write_all(&RECORD)?;
        file.sync_data()?;
    }
    Ok(f64::from(SYNCS) / started.elapsed().as_secs_f64())
}

async fn top_up(phone: &mut Phone) -> Result<(), String> {
    let words = |error: WalletError| error.to_string();
    let ordered = riders::order(phone, 100).await.map_err(words)?;
    let paid = riders::pay(phone, ordered).await.map_err(words)?;
    if riders::carry(phone, &paid).await.map_err(words)? {
        Ok(())
    } else {
        Err("a top-up was not credited".to_owned())
    }
}

/// Lets every phone do its work at once, and gives the phones back.
async fn together<F>(phones: Vec<Phone>, work: impl Fn(Phone) -> F) -> Result<Vec<Phone>, String>
where
    F: Future<Output = Result<Phone, String>> + Send + 'static,
{
    let tasks: Vec<_> = phones.into_iter().map(|phone| tokio::spawn(work(phone))).collect();
    let mut done = Vec::with_capacity(tasks.len());
    for task in tasks {
        done.push(task.await.map_err(|error| error.to_string())??);
    }
    Ok(done)
}
