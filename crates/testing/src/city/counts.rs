//! How often each thing was done and each thing went wrong: one line for each kind, so that a kind that is never
//! reached is seen.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::card::Mishap;
use super::lock;
use super::meddling::Alteration;
use super::network::{MessageFault, Role};
use super::trace::Flow;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A flow of the wallet or of a kiosk that finished.
    Flow(Flow),
    /// Something else that was done.
    Doing(Doing),
    /// Something befell a card or its phone.
    Mishap(Mishap),
    /// A phone died some other way.
    Phone(PhoneFault),
    /// A tap went wrong.
    Tap(TapKind),
    /// A message went wrong.
    Message(MessageFault),
    /// Something was altered on its way to the centre.
    Altered(Alteration),
    /// A line to the file server broke.
    Line,
    /// A server died at a commit.
    Killed(Role),
    /// A server's clock went wrong.
    Clock(Role),
    /// A terminal's clock went wrong.
    TerminalClock,
}

/// What is done without the wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Doing {
    /// A gate let a rider in.
    Enter,
    /// A gate let a rider out.
    Leave,
    /// A shop sold something.
    Buy,
    /// A kiosk gave cash back.
    CashGivenBack,
    /// Two people published a fare table.
    PublishFares,
    /// A rider took another phone.
    TakePhone,
    /// Two phones wanted one parked card.
    Rival,
    /// A card was reported lost.
    Lose,
    /// A lost card was found.
    Find,
    /// A rider got another number.
    ChangeNumber,
    /// A card arrived on another element.
    Arrive,
    /// A card was copied.
    Copy,
    /// A copy paid something.
    SpendCopy,
    /// A copy took money in.
    LoadCopy,
    /// A card with a copy was parked or returned.
    CloseCopied,
    /// The other of two was brought to be parked or returned as well.
    CloseCopy,
    /// A card took a credit that its phone had kept.
    TakeKept,
    /// A card refused one.
    RefuseKept,
    /// A terminal delivered notices.
    Notices,
    /// A terminal delivered a batch.
    Batch,
    /// A terminal delivered a file.
    File,
}

/// What befalls a phone beside its card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PhoneFault {
    /// The power goes while the card writes.
    Cut,
    /// The phone dies in the middle of a flow.
    Dies,
    /// The card pays at a till between two commands of the wallet.
    Till,
    /// The power goes between two commands.
    Power,
}

/// How a tap goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TapKind {
    /// The card leaves before a command.
    Leaves,
    /// The card leaves with its answer.
    LeavesWithAnswer,
    /// The terminal loses its power.
    TerminalDies,
}

impl Doing {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Enter,
        Self::Leave,
        Self::Buy,
        Self::CashGivenBack,
        Self::PublishFares,
        Self::TakePhone,
        Self::Rival,
        Self::Lose,
        Self::Find,
        Self::ChangeNumber,
        Self::Arrive,
        Self::Copy,
        Self::SpendCopy,
        Self::LoadCopy,
        Self::CloseCopied,
        Self::CloseCopy,
        Self::TakeKept,
        Self::RefuseKept,
        Self::Notices,
        Self::Batch,
        Self::File,
    ];
}

impl PhoneFault {
    /// Those that a whole city meets; the others are placed one by one.
    pub const ALL: [Self; 3] = [Self::Cut, Self::Dies, Self::Till];
}

impl TapKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Leaves, Self::LeavesWithAnswer, Self::TerminalDies];
}

impl Kind {
    /// Everything that a city does and meets.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        all.extend(Flow::ALL.map(Self::Flow));
        all.extend(Doing::ALL.map(Self::Doing));
        all.extend(Mishap::ALL.map(Self::Mishap));
        all.extend(PhoneFault::ALL.map(Self::Phone));
        all.extend(TapKind::ALL.map(Self::Tap));
        all.extend(MessageFault::ALL.map(Self::Message));
        all.extend(Alteration::ALL.map(Self::Altered));
        all.push(Self::Line);
        all.extend(Role::ALL.map(Self::Killed));
        all.extend(Role::ALL.map(Self::Clock));
        all.push(Self::TerminalClock);
        all
    }

    /// What it is one of.
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Flow(_) => "flows",
            Self::Doing(_) => "beside them",
            Self::Mishap(_) | Self::Phone(_) => "phones and cards",
            Self::Tap(_) => "taps",
            Self::Message(_) => "messages",
            Self::Altered(_) | Self::Line => "deliveries",
            Self::Killed(_) => "servers killed",
            Self::Clock(_) | Self::TerminalClock => "clocks wrong",
        }
    }

    /// Its name in tables.
    pub fn name(self) -> String {
        let name = match self {
            Self::Flow(flow) => format!("{flow:?}"),
            Self::Doing(doing) => format!("{doing:?}"),
            Self::Mishap(mishap) => format!("{mishap:?}"),
            Self::Phone(fault) => format!("{fault:?}"),
            Self::Tap(tap) => format!("{tap:?}"),
            Self::Message(fault) => format!("{fault:?}"),
            Self::Altered(alteration) => format!("Altered{alteration:?}"),
            Self::Line => "LineBroken".into(),
            Self::Killed(role) | Self::Clock(role) => return role.name().into(),
            Self::TerminalClock => "Terminal".into(),
        };
        let mut words = String::new();
        for letter in name.chars() {
            if letter.is_uppercase() && !words.is_empty() {
                words.push(' ');
            }
            words.push(letter.to_ascii_lowercase());
        }
        words
    }
}

/// Counts of each kind.
pub type Counts = BTreeMap<Kind, u64>;

/// Counts while the city runs.
#[derive(Debug, Default)]
pub struct Tally {
    faults: AtomicU64,
    counts: Mutex<Counts>,
}

impl Tally {
    /// Something was done.
    pub fn count(&self, kind: Kind) {
        *lock(&self.counts).entry(kind).or_default() += 1;
    }

    /// Something was done without the wallet.
    pub fn doing(&self, doing: Doing) {
        self.count(Kind::Doing(doing));
    }

    /// Something went wrong on purpose.
    pub fn fault(&self, kind: Kind) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        self.count(kind);
    }

    /// How much went wrong.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// All counts so far.
    pub fn counts(&self) -> Counts {
        lock(&self.counts).clone()
    }
}
