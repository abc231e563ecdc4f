//! `opentsm load`: phones that top up at a running city without pause, whatever happens to its servers, and
//! tell in the end whether the cards hold exactly what was acknowledged.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::sync::watch;
use tsm_api::ids::{OrderId, PaymentId};
use tsm_iso7816::Aid;
use tsm_se::memory::LoadFileLibrary;
use tsm_wallet::Quiet;
use tsm_wallet::service::PaidTopUp;

use crate::city::folder::CityFolder;
use crate::city::plan::CityPlan;
use crate::city::{TRANSIT_AID, ceremony, se_id};
use crate::phone::Phone;
use crate::riders;
use crate::stop::Attendance;

/// Each top-up, in fen.
const AMOUNT_FEN: u32 = 100;
/// How long a rider waits after a refusal or a lost reply.
const PAUSE: Duration = Duration::from_millis(50);
/// How long, after being asked to stop, a rider may need to learn what became of its last top-up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Options of `opentsm load`.
#[derive(Debug, Args)]
pub struct Options {
    /// The folder of the city: that of `opentsm up --data`.
    #[arg(long, value_name = "DIR")]
    city: PathBuf,

    /// How many phones.
    #[arg(long, default_value_t = 8)]
    phones: u32,

    /// One JSON object in the end.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    attendance: Attendance,
}

/// What became of all top-ups.
#[derive(Debug, Default, Serialize)]
struct Told {
    /// Top-ups that the rider was told are on the card.
    acknowledged: u64,
    /// Requests that were refused or whose reply was lost; each was settled later.
    interrupted: u64,
    /// Fen that were acknowledged and are not on the card.
    lost_fen: u64,
    /// Fen on the card that were acknowledged once only.
    twice_fen: u64,
}

/// Lets the phones top up until asked to stop; fails when a card holds anything but what was acknowledged.
pub fn run(options: &Options) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let told = runtime.block_on(load(options))?;
    if options.json {
        say!("{}", serde_json::to_string(&told).expect("plain fields can always be written"));
    } else {
        say!(
            "{} top-ups acknowledged, {} interrupted and settled; {} fen lost, {} fen credited twice",
            told.acknowledged,
            told.interrupted,
            told.lost_fen,
            told.twice_fen
        );
    }
    if told.lost_fen == 0 && told.twice_fen == 0 {
        Ok(())
    } else {
        Err("a card does not hold what was acknowledged".to_owned())
    }
}

async fn load(options: &Options) -> Result<Told, String> {
    let folder = CityFolder::new(&options.city).map_err(|error| error.to_string())?;
    let plan = CityPlan::read(&folder.plan()).map_err(|error| error.to_string())?;
    let maker = folder.read_card_maker().map_err(|error| error.to_string())?;
    let library = LoadFileLibrary::new();
    let (stop, stopped) = watch::channel(false);
    let mut riders = Vec::new();
    let free = (1..).filter(|number| !folder.phone(*number).exists());
    for number in free.take(options.phones as usize) {
        let profile = ceremony::profile(&maker, &se_id(number), library.clone());
        let phone = riders::switch_on(&plan.servers(), &folder, number, &profile).await?;
        let rider = Rider { phone, number, stopped: stopped.clone(), acknowledged: 0, interrupted: 0 };
        riders.push(tokio::spawn(rider.live()));
    }
    // The first line says that the phones are at work.
    if !options.json {
        say!("{} phones top up", riders.len());
    }
    options.attendance.until_asked().await;
    stop.send_replace(true);
    let mut all = Told::default();
    for rider in riders {
        let told = tokio::time::timeout(PATIENCE, rider).await;
        let told = told.map_err(|_| "a rider did not learn what became of a top-up".to_owned())?;
        let told = told.map_err(|error| error.to_string())??;
        all.acknowledged += told.acknowledged;
        all.interrupted += told.interrupted;
        all.lost_fen += told.lost_fen;
        all.twice_fen += told.twice_fen;
    }
    Ok(all)
}

struct Rider {
    phone: Phone,
    number: u32,
    stopped: watch::Receiver<bool>,
    acknowledged: u64,
    interrupted: u64,
}

impl Rider {
    async fn live(mut self) -> Result<Told, String> {
        self.until_done(Step::Register).await;
        self.until_done(Step::OpenCard).await;
        while !*self.stopped.borrow() {
            match riders::order(&self.phone, AMOUNT_FEN).await {
                Ok(ordered) => {
                    let paid = self.pay(ordered).await;
                    self.carry(&paid).await;
                }
                // An order that nobody pays closes by itself.
                Err(_) => {
                    self.pause().await;
                    self.log_in().await;
                }
            }
        }
        let aid = Aid::constant(&TRANSIT_AID);
        let view = self.phone.wallet.view_card(&aid).await.map_err(|error| error.to_string())?;
        let balance = u64::from(view.balance_fen);
        let acknowledged_fen = self.acknowledged * u64::from(AMOUNT_FEN);
        Ok(Told {
            acknowledged: self.acknowledged,
            interrupted: self.interrupted,
            lost_fen: acknowledged_fen.saturating_sub(balance),
            twice_fen: balance.saturating_sub(acknowledged_fen),
        })
    }

    /// Pays until the platform says that it is paid: an order is paid once, however often it is asked.
    async fn pay(&mut self, ordered: (OrderId, PaymentId)) -> PaidTopUp {
        loop {
            match riders::pay(&mut self.phone, ordered).await {
                Ok(paid) => return paid,
                Err(_) => self.pause().await,
            }
        }
    }

    /// Carries a paid top-up until the card has it.
    async fn carry(&mut self, paid: &PaidTopUp) {
        loop {
            match riders::carry(&mut self.phone, paid).await {
                Ok(true) => {
                    self.acknowledged += 1;
                    return;
                }
                Ok(false) => self.pause().await,
                Err(_) => {
                    self.pause().await;
                    self.log_in().await;
                }
            }
        }
    }

    async fn until_done(&mut self, step: Step) {
        loop {
            let done = match step {
                Step::Register => riders::register(&mut self.phone, self.number).await,
                Step::OpenCard => riders::open_card(&mut self.phone).await,
            };
            if done.is_ok() || *self.stopped.borrow() {
                return;
            }
            self.pause().await;
            if step == Step::OpenCard {
                self.log_in().await;
            }
        }
    }

    async fn log_in(&mut self) {
        // A refusal shows in whatever is tried next.
        let _ = self.phone.wallet.login(&mut Quiet).await;
    }

    async fn pause(&mut self) {
        self.interrupted += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Register,
    OpenCard,
}
