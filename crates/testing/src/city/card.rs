//! A phone's secure element: both of its interfaces, its power, and what befalls it. After each command the
//! truth hears what the purse holds.

use std::sync::{Arc, Mutex};

use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord};
use tsm_se::{Interface, SecureElement};

use super::Element;
use super::counts::{Doing, Kind, PhoneFault, Tally};
use super::keys::{Keys, TRANSIT};
use super::lock;
use super::random::Random;
use super::trace::{Event, Trace};
use super::truth::Truth;

/// What befalls a card at one of the next commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mishap {
    /// The power goes before the command arrives.
    CommandLost,
    /// The power goes after the card has acted and before it has answered.
    AnswerLost,
    /// The phone changes the answer.
    Forged,
    /// The phone keeps the answer for itself and says something else.
    Withheld,
    /// The phone says that the command succeeded, and the card never saw it.
    Invented,
    /// At the next INITIALIZE FOR LOAD the phone says that the card holds a fen less than it does.
    Poorer,
    /// The phone keeps the next CREDIT FOR LOAD for later and says that it failed, or nothing any more.
    Kept,
}

impl Mishap {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::CommandLost,
        Self::AnswerLost,
        Self::Forged,
        Self::Withheld,
        Self::Invented,
        Self::Poorer,
        Self::Kept,
    ];
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// An answer, true or not.
    Answer(ResponseApdu),
    /// No power.
    Dead,
}

/// A secure element in a phone.
pub struct Card {
    element: Element,
    inner: Mutex<Inner>,
    truth: Arc<Truth>,
    trace: Arc<Trace>,
    tally: Arc<Tally>,
}

struct Inner {
    element: SecureElement,
    random: Random,
    mishap: Option<(u64, Mishap)>,
    announced: Option<[u8; 6]>,
    /// The terminal that last announced a purchase.
    buying: Option<[u8; 6]>,
    /// The phone has no power.
    dead: bool,
    /// The phone keeps the card to itself for the rest of the flow.
    mute: bool,
    /// A CREDIT FOR LOAD that the phone has kept.
    kept: Option<(Interface, CommandApdu)>,
    /// Before the command after so many the phone gives it to the card.
    plays_after: Option<u64>,
    /// Commands that reached the card or were lost on their way to it.
    commands: u64,
}

impl Card {
    /// A new element of the city's batch.
    pub fn new(
        element: Element,
        keys: &Keys,
        seed: u64,
        truth: &Arc<Truth>,
        trace: &Arc<Trace>,
        tally: &Arc<Tally>,
    ) -> Arc<Self> {
        let number = u64::from(element.number());
        let mut own = Random::new(seed, (1 << 32) + number);
        let randomness = Box::new(move |bytes: &mut [u8]| own.fill(bytes));
        let made = SecureElement::create(&keys.profile(&element.id()), randomness);
        let made = made.expect("the city's profile makes a card");
        let random = Random::new(seed, (2 << 32) + number);
        Arc::new(Self {
            element,
            inner: Mutex::new(Inner::new(made, random)),
            truth: truth.clone(),
            trace: trace.clone(),
            tally: tally.clone(),
        })
    }

    /// A copy of the element's memory in another one, as somebody makes it who can read all of it.
    pub fn copied(&self, keys: &Keys, seed: u64) -> Option<Arc<Self>> {
        let element = super::copy_of(self.rider());
        let mut own = Random::new(seed, (1 << 32) + u64::from(element.number()));
        let randomness = Box::new(move |bytes: &mut [u8]| own.fill(bytes));
        let copy = {
            let inner = lock(&self.inner);
            SecureElement::open(&inner.element.image(), keys.library(), randomness).ok()?
        };
        let reading = personalised(&copy)?;
        let random = Random::new(seed, (2 << 32) + u64::from(element.number()));
        self.truth.copied(element, reading);
        self.trace.rider(self.rider(), Event::Copied(reading.state.purse().fen()));
        Some(Arc::new(Self {
            element,
            inner: Mutex::new(Inner::new(copy, random)),
            truth: self.truth.clone(),
            trace: self.trace.clone(),
            tally: self.tally.clone(),
        }))
    }

    /// Lets something befall the card at the command after the next `commands`.
    pub fn prepare(&self, commands: u64, mishap: Mishap) {
        lock(&self.inner).mishap = Some((commands, mishap));
    }

    /// Lets the power go at the memory write after the next `writes`.
    pub fn prepare_cut(&self, writes: u64) {
        lock(&self.inner).element.power_cut_after(writes);
    }

    /// How many commands were sent to the card so far.
    pub fn commands(&self) -> u64 {
        lock(&self.inner).commands
    }

    /// How often the card wrote to its memory so far.
    pub fn writes(&self) -> u64 {
        lock(&self.inner).element.writes()
    }

    /// Whose card it is.
    pub const fn rider(&self) -> u32 {
        self.element.rider
    }

    /// Which element it is.
    pub const fn element(&self) -> Element {
        self.element
    }

    /// Nothing more befalls the card.
    pub fn calm(&self) {
        let mut inner = lock(&self.inner);
        inner.mishap = None;
        inner.mute = false;
        inner.element.cancel_power_cut();
    }

    /// Whether the phone has kept a CREDIT FOR LOAD.
    pub fn has_kept(&self) -> bool {
        lock(&self.inner).kept.is_some()
    }

    /// Lets the phone give the card what it has kept, before the command after the next `commands`.
    pub fn play_kept_after(&self, commands: u64) {
        lock(&self.inner).plays_after = Some(commands);
    }

    /// The phone gives the card what it has kept.
    pub fn play_kept(&self) {
        let mut inner = lock(&self.inner);
        inner.plays_after = None;
        let Some((interface, command)) = inner.kept.take() else { return };
        let answer = inner.element.exchange(interface, &command);
        let (reading, buying) = (personalised(&inner.element), inner.buying);
        drop(inner);
        let took = answer.is_some_and(|answer| answer.status.is_success());
        let event = match took {
            true => "the phone gives the card the credit that it had kept, and the card takes it",
            false => "the phone gives the card the credit that it had kept, and the card refuses it",
        };
        self.tally.fault(Kind::Doing(if took { Doing::TakeKept } else { Doing::RefuseKept }));
        self.trace.rider(self.rider(), Event::Mishap(event));
        self.truth.read(self.element, reading, buying);
    }

    /// The power goes, between two commands.
    pub fn lose_power(&self, why: &'static str) {
        lock(&self.inner).fail();
        self.tally.fault(Kind::Phone(PhoneFault::Power));
        self.trace.rider(self.rider(), Event::Mishap(why));
    }

    /// Gives the power back.
    pub fn power_on(&self) {
        let mut inner = lock(&self.inner);
        inner.element.power_on().expect("the memory repairs itself");
        inner.announced = None;
        inner.dead = false;
        let (reading, buying) = (personalised(&inner.element), inner.buying);
        drop(inner);
        self.truth.read(self.element, reading, buying);
    }

    /// Resets one interface.
    pub fn reset(&self, interface: Interface) {
        lock(&self.inner).element.reset(interface);
    }

    /// Whether the card has power.
    pub fn is_powered(&self) -> bool {
        let inner = lock(&self.inner);
        !inner.dead && inner.element.is_powered()
    }

    /// Looks into the element.
    pub fn look<T>(&self, look: impl FnOnce(&SecureElement) -> T) -> T {
        look(&lock(&self.inner).element)
    }

    /// Serves one command, or does not.
    pub fn exchange(&self, interface: Interface, command: &CommandApdu) -> Exchange {
        let mut inner = lock(&self.inner);
        if inner.dead || inner.mute || !inner.element.is_powered() {
            return Exchange::Dead;
        }
        if inner.plays_now() {
            drop(inner);
            self.play_kept();
            inner = lock(&self.inner);
        }
        inner.commands += 1;
        let mishap = inner.due(command);
        if let Some(mishap) = mishap {
            self.tally.fault(Kind::Mishap(mishap));
            self.trace.rider(self.rider(), Event::Mishap(words(mishap)));
        }
        match mishap {
            Some(Mishap::CommandLost) => {
                inner.fail();
                return Exchange::Dead;
            }
            Some(Mishap::Invented) => {
                drop(inner);
                self.truth.lied(self.element);
                return Exchange::Answer(StatusWord::SUCCESS.into());
            }
            Some(Mishap::Kept) => {
                inner.kept = Some((interface, command.clone()));
                inner.mute = inner.random.once_in(2);
                return if inner.mute { Exchange::Dead } else { Exchange::Answer(StatusWord(0x6F00).into()) };
            }
            _ => {}
        }
        if let Some(number) = inner.crediting(command) {
            drop(inner);
            self.truth.about_to_credit(self.element, number);
            inner = lock(&self.inner);
        }
        let answer = inner.element.exchange(interface, command);
        if answer.is_none() {
            self.tally.fault(Kind::Phone(PhoneFault::Cut));
            self.trace.rider(self.rider(), Event::Mishap("the power goes while the card writes"));
            return Exchange::Dead;
        }
        let number = answer.as_ref().and_then(|answer| terminal_number(command, answer));
        let announced = number.filter(|_| command.p1 == FOR_LOAD);
        match announced {
            Some(_) => inner.announced = announced,
            None => inner.buying = number.or(inner.buying),
        }
        let (reading, buying) = (personalised(&inner.element), inner.buying);
        if mishap == Some(Mishap::AnswerLost) {
            inner.fail();
        }
        let answer = answer.map(|answer| match mishap {
            Some(Mishap::Forged) => inner.forge(answer),
            Some(Mishap::Withheld) => StatusWord(0x6F00).into(),
            Some(Mishap::Poorer) => poorer(answer),
            _ => answer,
        });
        drop(inner);
        if matches!(mishap, Some(Mishap::Forged | Mishap::Poorer)) {
            self.truth.lied(self.element);
        }
        if let Some(number) = announced {
            self.truth.announced(self.element, number);
        }
        self.truth.read(self.element, reading, buying);
        match answer {
            Some(_) if mishap == Some(Mishap::AnswerLost) => Exchange::Dead,
            Some(answer) => Exchange::Answer(answer),
            None => Exchange::Dead,
        }
    }
}

/// A purse that is not personalised is none yet.
fn personalised(element: &SecureElement) -> Option<tsm_se::inspect::PurseReading> {
    element.purse(&TRANSIT).filter(|reading| reading.personalised)
}

const fn words(mishap: Mishap) -> &'static str {
    match mishap {
        Mishap::CommandLost => "the power goes before a command reaches the card",
        Mishap::AnswerLost => "the power goes after the card has acted, and its answer is lost",
        Mishap::Forged => "the phone changes an answer of the card",
        Mishap::Withheld => "the phone keeps an answer of the card for itself",
        Mishap::Invented => "the phone answers in the card's place",
        Mishap::Kept => "the phone keeps the command that credits the card, and says that it failed",
        Mishap::Poorer => "the phone says that the card holds a fen less than it does",
    }
}

/// P1 of INITIALIZE FOR LOAD; other values announce purchases.
const FOR_LOAD: u8 = 0x00;

/// INITIALIZE FOR LOAD, PURCHASE or CAPP PURCHASE.
const fn initializes(command: &CommandApdu) -> bool {
    command.cla & 0x80 != 0 && command.ins == 0x50 && command.p2 == 0x02
}

/// CREDIT FOR LOAD.
const fn credits(command: &CommandApdu) -> bool {
    command.cla & 0x80 != 0 && command.ins == 0x52
}

/// The answer to INITIALIZE FOR LOAD begins with the balance.
///
/// A fen less with the same online counter is what an offline purchase would leave: only MAC1 tells that it is
/// a lie. More than before would contradict the issuer's own record.
fn poorer(mut answer: ResponseApdu) -> ResponseApdu {
    if let Some(balance) = answer.data.first_chunk_mut::<4>() {
        *balance = u32::from_be_bytes(*balance).saturating_sub(1).to_be_bytes();
    }
    answer
}

/// The terminal number that an INITIALIZE announced, when the card took it.
fn terminal_number(command: &CommandApdu, answer: &ResponseApdu) -> Option<[u8; 6]> {
    // Key index, amount, terminal number.
    let number = command.data.get(5..11)?;
    (initializes(command) && answer.status.is_success()).then(|| number.try_into().ok()).flatten()
}

impl Inner {
    const fn new(element: SecureElement, random: Random) -> Self {
        Self {
            element,
            random,
            mishap: None,
            announced: None,
            buying: None,
            dead: false,
            mute: false,
            kept: None,
            plays_after: None,
            commands: 0,
        }
    }

    /// Whether the phone gives the card now what it has kept.
    const fn plays_now(&mut self) -> bool {
        match &mut self.plays_after {
            None => false,
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
        }
    }

    fn due(&mut self, command: &CommandApdu) -> Option<Mishap> {
        let (left, mishap) = self.mishap.as_mut()?;
        match mishap {
            Mishap::Poorer => *left = u64::from(!initializes(command) || command.p1 != FOR_LOAD),
            Mishap::Kept => *left = u64::from(!credits(command)),
            _ => {}
        }
        if *left > 0 {
            *left -= 1;
            return None;
        }
        let mishap = *mishap;
        self.mishap = None;
        Some(mishap)
    }

    /// The power goes now.
    fn fail(&mut self) {
        self.dead = true;
    }

    /// CREDIT FOR LOAD after an announced terminal number.
    fn crediting(&self, command: &CommandApdu) -> Option<[u8; 6]> {
        self.announced.filter(|_| credits(command))
    }

    fn forge(&mut self, answer: ResponseApdu) -> ResponseApdu {
        let mut data = answer.data;
        match self.random.below(3) {
            0 if !data.is_empty() => {
                let place = self.random.below(data.len() as u64) as usize;
                data[place] ^= 1 << self.random.below(8);
                ResponseApdu::new(data, answer.status)
            }
            1 => {
                let shorter = data.len() / 2;
                data.truncate(shorter);
                ResponseApdu::new(data, answer.status)
            }
            _ => ResponseApdu::new(data, StatusWord(0x6985)),
        }
    }
}
