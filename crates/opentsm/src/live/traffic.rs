//! The streets of `opentsm up`: its gates, and simulated riders who live in the city while it is looked at.
//!
//! A rider is a phone with a software SE in memory and a wallet of its own; it tops up, enters and leaves, and
//! does again. What it does goes the same ways as a person's: wallet to TSMs, gate to card, gate to centre.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tsm_api::signature::SoftwareSigner;
use tsm_domain::environment::{Clock as _, Entropy};
use tsm_se::SecureElement;
use tsm_se::card::SystemRandomness;
use tsm_se::memory::LoadFileLibrary;
use tsm_terminal::gate::Passage;
use tsm_terminal::psam::RootKeys;
use tsm_terminal::round::Lent;
use tsm_terminal::store::{FileStore, Folder};
use tsm_wallet::Quiet;

use crate::city::centre::Centre;
use crate::city::folder::CityFolder;
use crate::city::gates::CityGate;
use crate::city::terminals::{CityTerminal, Signed};
use crate::city::{City, CityError, ceremony, in_step, roles, se_id};
use crate::demo::here::PhoneHere;
use crate::demo::rider::RiderPhone as _;
use crate::environment::{self, SystemClock};
use crate::handset::Watched;

/// What the riders' card is called in the catalogue.
const TRANSIT_CARD: &str = "Harbour Transit Card";
/// How often gates deliver.
const DELIVERY: Duration = Duration::from_secs(3);
/// Below this a rider tops up first.
const LEAST_FEN: u32 = 600;
/// The names of the gates.
const NAMES: [(&str, &str); 2] = [("Harbour", "港湾站"), ("Lighthouse", "灯塔站")];

/// A gate as the page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateSeen {
    /// Its name in English.
    pub english: &'static str,
    /// Its name in Chinese.
    pub chinese: &'static str,
    /// Its terminal number.
    pub terminal: String,
    /// Taps since the city came up.
    pub taps: u64,
    /// The version of the fare table that is in force in it; 0 when none of the centre's is.
    pub fares: u32,
    /// Transactions that it has not delivered yet.
    pub waiting: usize,
}

/// The gates, and how many riders there are.
pub struct Streets {
    gates: Mutex<[CityGate; 2]>,
    taps: [AtomicU64; 2],
    riders: AtomicU32,
    stopped: watch::Sender<bool>,
}

impl Streets {
    /// A city with these gates.
    pub fn new(gates: [CityGate; 2]) -> Arc<Self> {
        let (taps, riders, stopped) = Default::default();
        Arc::new(Self { gates: Mutex::new(gates), taps, riders, stopped })
    }

    /// The gates now.
    pub fn gates(&self) -> Vec<GateSeen> {
        let now = SystemClock.now();
        self.with_gates(|gates| {
            let all = gates.iter().zip(NAMES).zip(&self.taps);
            all.map(|((gate, (english, chinese)), taps)| GateSeen {
                english,
                chinese,
                terminal: hex::encode(gate.terminal().number().to_bytes()),
                taps: taps.load(Ordering::Relaxed),
                fares: gate.terminal().fare_version(now),
                waiting: gate.terminal().state().undelivered(),
            })
            .collect()
        })
    }

    /// How many riders live in the city.
    pub fn riders(&self) -> u32 {
        self.riders.load(Ordering::Relaxed)
    }

    fn with_gates<T>(&self, work: impl FnOnce(&mut [CityGate; 2]) -> T) -> T {
        work(&mut self.gates.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets riders live in the city until [`Self::stop`]. Gives the first phone's number after theirs.
    pub fn let_live(
        self: &Arc<Self>,
        folder: &CityFolder,
        city: &City,
        riders: u32,
    ) -> Result<u32, CityError> {
        let centre = Centre::of(&city.plan)?;
        tokio::spawn(go_round(self.clone(), centre));
        let library = LoadFileLibrary::new();
        let (_, entropy) = environment::real();
        let free = (1..).filter(|number| !folder.phone(*number).exists()).take(riders as usize);
        let mut next = 1;
        for number in free {
            next = number + 1;
            let profile = ceremony::profile(&city.maker, &se_id(number), library.clone());
            let element = SecureElement::create(&profile, Box::new(SystemRandomness));
            let element = element.map_err(in_step("making a rider's phone"))?;
            let (servers, home) = (city.plan.servers(), folder.phone(number));
            let rider = Rider { number, streets: self.clone(), entropy: entropy.clone(), balance_fen: 0 };
            tokio::spawn(async move {
                let phone = PhoneHere::switch_on(&servers, &home, element, Watched::No).await;
                let lived = match phone {
                    Ok(phone) => rider.live(phone).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = lived {
                    tracing::warn!(number, %error, "a rider gave up");
                }
            });
        }
        Ok(next)
    }

    /// Sends the riders home.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }
}

/// Gates deliver what they have and fetch lists and fares; what fails is done by the next round.
async fn go_round(streets: Arc<Streets>, centre: Centre) {
    let timer = roles::runtime().timer;
    while !streets.is_stopped() {
        timer.sleep(DELIVERY).await;
        for number in [0, 1] {
            let mut gate = StreetGate { streets: &streets, number };
            if let Err(error) = centre.round(&mut gate).await {
                tracing::debug!(%error, "a gate's round ended early");
            }
        }
    }
}

/// One of the gates, between the riders who pass it.
struct StreetGate<'a> {
    streets: &'a Streets,
    number: usize,
}

impl Lent for StreetGate<'_> {
    type Keys = RootKeys;
    type Store = FileStore<Folder>;

    fn lend<T>(&mut self, work: impl FnOnce(&mut CityTerminal) -> T) -> T {
        self.streets.with_gates(|gates| gates[self.number].lend(work))
    }
}

impl Signed for StreetGate<'_> {
    fn signer(&self) -> Option<SoftwareSigner> {
        self.streets.with_gates(|gates| gates[self.number].signer())
    }
}

struct Rider {
    number: u32,
    streets: Arc<Streets>,
    entropy: Arc<dyn Entropy>,
    balance_fen: u32,
}

impl Rider {
    async fn live(mut self, mut phone: PhoneHere) -> Result<(), CityError> {
        let shown = &mut Quiet;
        self.pause(0, 4_000).await;
        phone.register(&format!("86139{:08}", self.number), shown).await?;
        phone.log_in(shown).await?;
        let (card, _) = phone.open(TRANSIT_CARD, shown).await?;
        self.streets.riders.fetch_add(1, Ordering::Relaxed);
        while !self.streets.is_stopped() {
            if self.balance_fen < LEAST_FEN {
                // The session ends by itself after a while.
                phone.log_in(shown).await?;
                let amount_fen = 1_000 * (1 + u32::from(self.random() % 5));
                phone.pay(&card, amount_fen).await?;
                self.pause(500, 3_000).await;
                let (balance_fen, _) = phone.top_up(&card, shown).await?;
                self.balance_fen = balance_fen;
            }
            self.pause(1_000, 9_000).await;
            self.ride(&mut phone).await?;
        }
        self.streets.riders.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    /// In at one station and out at the other, where the gates are open.
    async fn ride(&mut self, phone: &mut PhoneHere) -> Result<(), CityError> {
        let first = usize::from(self.random() % 2);
        for (gate, tap) in [(first, CityGate::enter as Tap), (1 - first, CityGate::leave as Tap)] {
            let link = phone.hold_to_gate()?;
            let passed = self.streets.with_gates(|gates| tap(&mut gates[gate], link, SystemClock.now()));
            match passed {
                Ok(Passage::Entered { balance, .. } | Passage::Left { balance, .. }) => {
                    self.balance_fen = balance.fen();
                    self.streets.taps[gate].fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    tracing::debug!(%error, "a gate refused a rider");
                    self.balance_fen = 0;
                    return Ok(());
                }
            }
            self.pause(1_500, 6_000).await;
        }
        Ok(())
    }

    fn random(&self) -> u8 {
        let mut byte = [0];
        self.entropy.fill(&mut byte);
        byte[0]
    }

    async fn pause(&self, least_ms: u64, most_ms: u64) {
        let share = u64::from(self.random());
        let pause = Duration::from_millis(least_ms + (most_ms - least_ms) * share / 255);
        let mut stopped = self.streets.stopped.subscribe();
        let timer = roles::runtime().timer;
        tokio::select! {
            () = timer.sleep(pause) => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }
}

/// A tap at a gate.
type Tap = fn(
    &mut CityGate,
    &mut crate::handset::CardLink,
    jiff::Timestamp,
) -> Result<Passage, tsm_terminal::terminal::TapError>;
