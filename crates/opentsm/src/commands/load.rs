//! `opentsm load`: riders who top up, move their cards between two phones and return them at a running city
//! without pause, whatever happens to its servers, and tell in the end whether what the cards held was always
//! exactly what was acknowledged.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::sync::watch;
use tsm_api::ids::{OrderId, PaymentId};
use tsm_iso7816::Aid;
use tsm_se::memory::LoadFileLibrary;
use tsm_wallet::service::{Blocked, InterruptedKind, PaidTopUp};
use tsm_wallet::{Quiet, WalletError};

use crate::city::folder::CityFolder;
use crate::city::plan::CityPlan;
use crate::city::{TRANSIT_AID, ceremony, se_id};
use crate::phone::Phone;
use crate::riders;
use crate::stop::Attendance;

/// Each top-up, in fen.
const AMOUNT_FEN: u32 = 100;
/// After so many top-ups a card goes to the rider's other phone.
const MOVE_EVERY: u64 = 4;
/// After so many top-ups a card is returned, and another one opened.
const RETURN_EVERY: u64 = 10;
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

    /// How many riders. Each has two phones.
    #[arg(long, default_value_t = 8)]
    riders: u32,

    /// One JSON object in the end.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    attendance: Attendance,
}

/// What became of everything.
#[derive(Debug, Default, Serialize)]
struct Told {
    /// Top-ups that the rider was told are on the card.
    acknowledged: u64,
    /// Cards that came to the rider's other phone.
    moved: u64,
    /// Cards that were returned.
    returned: u64,
    /// What was on those, in fen.
    returned_fen: u64,
    /// Requests that were refused or whose reply was lost; each was settled later.
    interrupted: u64,
    /// Fen that were acknowledged and were not on the card.
    lost_fen: u64,
    /// Fen on the card that were acknowledged once only.
    twice_fen: u64,
}

impl Told {
    fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.moved += other.moved;
        self.returned += other.returned;
        self.returned_fen += other.returned_fen;
        self.interrupted += other.interrupted;
        self.lost_fen += other.lost_fen;
        self.twice_fen += other.twice_fen;
    }
}

/// Lets the riders live until asked to stop; fails when a card held anything but what was acknowledged.
pub fn run(options: &Options) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let told = runtime.block_on(load(options))?;
    if options.json {
        say!("{}", serde_json::to_string(&told).expect("plain fields can always be written"));
    } else {
        say!(
            "{} top-ups acknowledged, {} cards moved, {} returned with {} fen, {} requests interrupted and \
             settled; {} fen lost, {} fen credited twice",
            told.acknowledged,
            told.moved,
            told.returned,
            told.returned_fen,
            told.interrupted,
            told.lost_fen,
            told.twice_fen
        );
    }
    if told.lost_fen == 0 && told.twice_fen == 0 {
        Ok(())
    } else {
        Err("a card did not hold what was acknowledged".to_owned())
    }
}

async fn load(options: &Options) -> Result<Told, String> {
    let folder = CityFolder::new(&options.city).map_err(|error| error.to_string())?;
    let plan = CityPlan::read(&folder.plan()).map_err(|error| error.to_string())?;
    let maker = folder.read_card_maker().map_err(|error| error.to_string())?;
    let library = LoadFileLibrary::new();
    let (stop, stopped) = watch::channel(false);
    let mut riders = Vec::new();
    let mut free = (1..).filter(|number| !folder.phone(*number).exists());
    for _ in 0..options.riders {
        let mut phones = Vec::new();
        for number in free.by_ref().take(2) {
            let profile = ceremony::profile(&maker, &se_id(number), library.clone());
            let phone = riders::switch_on(&plan.servers(), &folder, number, &profile).await?;
            phones.push((number, phone));
        }
        let (say, said) = watch::channel("nothing failed".to_owned());
        riders.push((tokio::spawn(Rider::of(phones, stopped.clone(), say).live()), said));
    }
    // The first line says that the riders are at work.
    if !options.json {
        say!("{} riders top up, move and return their cards", riders.len());
    }
    options.attendance.until_asked().await;
    stop.send_replace(true);
    let mut all = Told::default();
    for (rider, said) in riders {
        let told = tokio::time::timeout(PATIENCE, rider).await;
        let last = || format!("a rider did not learn what became of a card; at last, {}", *said.borrow());
        let told = told.map_err(|_| last())?;
        all.add(&told.map_err(|error| error.to_string())??);
    }
    Ok(all)
}

/// Why a card leaves its phone.
#[derive(Debug, Clone, Copy)]
enum Closing {
    /// It goes to the rider's other phone.
    Parking,
    /// Its balance goes back to the rider.
    Return,
}

struct Rider {
    /// The phones; the card is in the first, or on its way to the second.
    phones: Vec<(u32, Phone)>,
    stopped: watch::Receiver<bool>,
    /// What failed last, and why.
    failed: watch::Sender<String>,
    /// What was acknowledged of the card in use, in fen.
    acknowledged_fen: u64,
    told: Told,
}

impl Rider {
    fn of(phones: Vec<(u32, Phone)>, stopped: watch::Receiver<bool>, failed: watch::Sender<String>) -> Self {
        Self { phones, stopped, failed, acknowledged_fen: 0, told: Told::default() }
    }

    fn phone(&mut self) -> &mut Phone {
        &mut self.phones[0].1
    }

    async fn live(mut self) -> Result<Told, String> {
        for _ in 0..self.phones.len() {
            self.register().await;
            self.phones.rotate_left(1);
        }
        self.open().await;
        while !*self.stopped.borrow() {
            if !self.top_up().await {
                continue;
            }
            if self.told.acknowledged % RETURN_EVERY == RETURN_EVERY - 1 {
                self.give_back().await;
            } else if self.told.acknowledged % MOVE_EVERY == MOVE_EVERY - 1 {
                self.move_card().await;
            }
        }
        let view = self.phone().wallet.view_card(&Aid::constant(&TRANSIT_AID)).await;
        let view = view.map_err(|error| error.to_string())?;
        self.compare(view.balance_fen);
        Ok(self.told)
    }

    /// The rider's number is that of the first phone, on both.
    async fn register(&mut self) {
        let msisdn = self.phones.iter().map(|(number, _)| *number).min().unwrap_or_default();
        while let Err(error) = riders::register(self.phone(), msisdn).await {
            self.pause_after("registering", &error).await;
        }
    }

    async fn open(&mut self) {
        loop {
            match riders::open_card(self.phone()).await {
                Ok(()) => return,
                // A card that was opened before the phone heard of it is not offered again.
                Err(WalletError::NotOffered(_) | WalletError::UnexpectedOutcome)
                    if self.holds_card().await =>
                {
                    return;
                }
                Err(error) => self.after_failure("opening a card", &error).await,
            }
        }
    }

    /// Whether the card was topped up.
    async fn top_up(&mut self) -> bool {
        match riders::order(self.phone(), AMOUNT_FEN).await {
            Ok(ordered) => {
                let paid = self.pay(ordered).await;
                self.carry(&paid).await;
                true
            }
            // An order that nobody pays closes by itself.
            Err(error) => {
                self.after_failure("ordering a top-up", &error).await;
                false
            }
        }
    }

    /// Pays until the platform says that it is paid: an order is paid once, however often it is asked.
    async fn pay(&mut self, ordered: (OrderId, PaymentId)) -> PaidTopUp {
        loop {
            match riders::pay(self.phone(), ordered).await {
                Ok(paid) => return paid,
                Err(error) => self.pause_after("paying", &error).await,
            }
        }
    }

    /// Carries a paid top-up until the card has it.
    async fn carry(&mut self, paid: &PaidTopUp) {
        loop {
            match riders::carry(self.phone(), paid).await {
                Ok(true) => {
                    self.told.acknowledged += 1;
                    self.acknowledged_fen += u64::from(AMOUNT_FEN);
                    return;
                }
                Ok(false) => self.pause_after("topping up", &WalletError::UnexpectedOutcome).await,
                Err(error) => self.after_failure("topping up", &error).await,
            }
        }
    }

    /// Parks the card and brings it to the other phone.
    async fn move_card(&mut self) {
        self.close(Closing::Parking).await;
        self.phones.rotate_left(1);
        self.log_in().await;
        while let Err(error) = riders::fetch(self.phone()).await {
            self.after_failure("fetching the card", &error).await;
            if self.has_arrived().await {
                break;
            }
        }
        self.told.moved += 1;
    }

    /// Whether a card whose arrival broke off is there and nothing is left to do. An arrival that cannot go on is
    /// given up, so that the next one can begin.
    async fn has_arrived(&mut self) -> bool {
        let Ok(works) = self.phone().wallet.interrupted().await else { return false };
        match works.iter().find(|work| work.kind == InterruptedKind::MigrationIn) {
            None => self.holds_card().await,
            Some(work) if work.may_continue => false,
            Some(work) => {
                // Whether it was given up shows in what is interrupted the next time.
                let _ = self.phone().wallet.cancel_interrupted(work, &mut Quiet).await;
                false
            }
        }
    }

    /// Returns the card, and opens another one.
    async fn give_back(&mut self) {
        let returned_fen = self.close(Closing::Return).await;
        self.told.returned += 1;
        self.told.returned_fen += u64::from(returned_fen);
        self.acknowledged_fen = 0;
        self.open().await;
    }

    /// Closes the card, and deletes what is left of it. Says what it held, in fen.
    async fn close(&mut self, closing: Closing) -> u32 {
        let balance_fen = loop {
            let (doing, closed) = match closing {
                Closing::Parking => ("parking", riders::park(self.phone()).await),
                Closing::Return => ("returning", riders::give_back(self.phone()).await),
            };
            match closed {
                Ok(balance_fen) => break balance_fen,
                Err(error) => self.after_failure(doing, &error).await,
            }
        };
        self.compare(balance_fen);
        self.delete_what_is_left().await;
        balance_fen
    }

    /// Deletes what is left of a card that was closed; the platform asks for it at a login.
    async fn delete_what_is_left(&mut self) {
        loop {
            self.log_in().await;
            let deleted = self.phone().wallet.delete_closed(&mut Quiet).await;
            let view = self.phone().wallet.view_card(&Aid::constant(&TRANSIT_AID)).await;
            match (deleted, view) {
                (Ok(_), Err(_)) => return,
                (Ok(_), Ok(_)) => self.pause_after("deleting", &WalletError::UnexpectedOutcome).await,
                (Err(error), _) => self.pause_after("deleting", &error).await,
            }
        }
    }

    async fn holds_card(&mut self) -> bool {
        let view = self.phone().wallet.view_card(&Aid::constant(&TRANSIT_AID)).await;
        view.is_ok_and(|view| view.blocked == Blocked::No)
    }

    /// What a card is said to hold against what was acknowledged of it.
    fn compare(&mut self, balance_fen: u32) {
        let balance_fen = u64::from(balance_fen);
        self.told.lost_fen += self.acknowledged_fen.saturating_sub(balance_fen);
        self.told.twice_fen += balance_fen.saturating_sub(self.acknowledged_fen);
    }

    async fn after_failure(&mut self, doing: &str, error: &WalletError) {
        self.pause_after(doing, error).await;
        self.log_in().await;
    }

    async fn log_in(&mut self) {
        // A refusal shows in whatever is tried next.
        let _ = self.phone().wallet.login(&mut Quiet).await;
    }

    async fn pause_after(&mut self, doing: &str, error: &WalletError) {
        self.told.interrupted += 1;
        self.failed.send_replace(format!("{doing}: {error}"));
        tokio::time::sleep(PAUSE).await;
    }
}
